package clickhouse

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"github.com/weir-stream/weir/sink"
)

// checkLogin names where a URL can stand.
const checkLogin = "check user and password in the URL (sink.clickhouse.url of the pipeline, clickhouse.url in node.yaml, or WEIR_CLICKHOUSE)"

// defaultUser is whom the server takes a client for that names nobody.
const defaultUser = "default"

// AccessDenied is the server's code for a grant that is missing.
const AccessDenied = 497

// stopCodes are errors that need a person, with what he should do.
var stopCodes = map[int32]string{
	8:   "",                                                                                                               // THERE_IS_NO_COLUMN
	10:  "",                                                                                                               // NOT_FOUND_COLUMN_IN_BLOCK
	16:  "",                                                                                                               // NO_SUCH_COLUMN_IN_TABLE
	44:  "",                                                                                                               // ILLEGAL_COLUMN
	47:  "",                                                                                                               // UNKNOWN_IDENTIFIER
	53:  "",                                                                                                               // TYPE_MISMATCH
	60:  "",                                                                                                               // UNKNOWN_TABLE
	81:  "",                                                                                                               // UNKNOWN_DATABASE
	50:  "use ClickHouse 22.8 or newer",                                                                                   // UNKNOWN_TYPE
	62:  "use ClickHouse 22.8 or newer",                                                                                   // SYNTAX_ERROR
	115: "use ClickHouse 22.8 or newer",                                                                                   // UNKNOWN_SETTING
	164: "the server or the user is read-only: give the user the right to insert",                                         // READONLY
	192: checkLogin,                                                                                                       // UNKNOWN_USER
	193: checkLogin,                                                                                                       // WRONG_PASSWORD
	194: "the user needs a password: put it in the URL",                                                                   // REQUIRED_PASSWORD
	195: "the user may not connect from this address: allow it, or use another",                                           // IP_ADDRESS_NOT_ALLOWED
	291: "grant the user access to the database",                                                                          // DATABASE_ACCESS_DENIED
	452: "the user's settings profile forbids it: allow async_insert = 0, insert_deduplication_token and receive_timeout", // SETTING_CONSTRAINT_VIOLATION
	497: "grant the user what the message names",                                                                          // ACCESS_DENIED
	516: checkLogin,                                                                                                       // AUTHENTICATION_FAILED
}

// rejectCodes are errors about the rows themselves.
var rejectCodes = map[int32]bool{
	6:   true, // CANNOT_PARSE_TEXT
	26:  true, // CANNOT_PARSE_QUOTED_STRING
	27:  true, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
	33:  true, // CANNOT_READ_ALL_DATA: a truncated aggregate state
	36:  true, // BAD_ARGUMENTS: an aggregate state with bytes left over
	38:  true, // CANNOT_PARSE_DATE
	41:  true, // CANNOT_PARSE_DATETIME
	69:  true, // ARGUMENT_OUT_OF_BOUND
	72:  true, // CANNOT_PARSE_NUMBER
	131: true, // TOO_LARGE_STRING_SIZE
	321: true, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
	349: true, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
	407: true, // DECIMAL_OVERFLOW
	469: true, // VIOLATED_CONSTRAINT
}

// retryHints explain errors that pass by themselves but may need a person if they do not.
var retryHints = map[int32]string{
	159: "the server was too slow",
	202: "too many queries at the same time",
	241: "the server is short of memory",
	242: "the table is read-only for now: is Keeper reachable",
	243: "the server's disk is full",
	252: "the server has too many parts: it merges slower than it is written to",
}

// classify wraps an error as *sink.Error with what to do about it. It is nil for nil. Whatever is not known to need a
// person, or to be about the rows, is retried: nothing is lost by that.
func (s *Sink) classify(op string, err error) error {
	if err == nil {
		return nil
	}
	var done *sink.Error
	if errors.As(err, &done) {
		return err
	}
	class, hint := advise(err, s.user)
	if class == sink.Retry || hint != "" {
		op += " at " + s.cfg.Target()
	}
	return &sink.Error{Class: class, Hint: hint, Err: fmt.Errorf("%s: %w", op, err), Overload: overloaded(err)}
}

// Advice is what a person can do about an error that a client of ClickHouse gave, empty where that is not known, and whether he must,
// since it does not pass by itself. url is the one that the client was made with.
func Advice(err error, url string) (hint string, must bool) {
	user := defaultUser
	if opt, err := clickhouse.ParseDSN(url); err == nil {
		user = cmp.Or(opt.Auth.Username, user)
	}
	class, hint := advise(err, user)
	return hint, class == sink.Stop && hint != ""
}

func advise(err error, user string) (sink.Class, string) {
	class, hint := classOf(err)
	if grant := grantFor(err, user); grant != "" {
		hint = "run " + grant + " (deploy/README.md lists what a role needs)"
	}
	return class, hint
}

// overloaded tells whether a server says that it has too much to do: too slow, too many queries, short of memory, too many
// parts, or no answer in time.
func overloaded(err error) bool {
	var ex *clickhouse.Exception
	if errors.As(err, &ex) {
		switch ex.Code {
		case 159, 202, 241, 252:
			return true
		}
		return false
	}
	return errors.Is(err, context.DeadlineExceeded)
}

func classOf(err error) (sink.Class, string) {
	var ex *clickhouse.Exception
	if errors.As(err, &ex) {
		if hint, ok := stopCodes[ex.Code]; ok {
			return sink.Stop, hint
		}
		if rejectCodes[ex.Code] {
			return sink.Reject, ""
		}
		return sink.Retry, retryHints[ex.Code]
	}
	var (
		httpErr   *clickhouse.HTTPError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		converter *column.ColumnConverterError
		colErr    *column.Error
		unknown   *column.UnsupportedColumnTypeError
		dns       *net.DNSError
	)
	switch {
	case errors.As(err, &httpErr):
		switch httpErr.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return sink.Stop, checkLogin
		case http.StatusNotFound, http.StatusMethodNotAllowed:
			return sink.Stop, "is this the HTTP port of a ClickHouse server"
		}
	case errors.As(err, &record):
		return sink.Stop, "the server does not speak TLS on this port: use its secure port, or leave out secure=true"
	case errors.As(err, &hostname):
		return sink.Stop, "the server's certificate is for " + namesOf(hostname.Certificate) + ": use such a name in the URL, or add tls_server_name=NAME to it"
	case errors.As(err, &authority):
		return sink.Stop, "the server's certificate is not trusted" + issuerOf(authority.Cert) + ": add the certificate of its authority to the system's, or name the PEM file that has it in SSL_CERT_FILE"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return sink.Stop, "the server's certificate is not trusted" + datesOf(invalid.Cert) + ": check its dates, its uses and the clock of this machine"
	case errors.As(err, &converter), errors.As(err, &colErr), errors.As(err, &unknown):
		return sink.Stop, ""
	case errors.As(err, &dns) && dns.IsNotFound:
		return sink.Retry, "the name is not known: check the host in the URL"
	case strings.Contains(err.Error(), firstByte+"[21] "): // of an alert of TLS
		return sink.Retry, "the server speaks TLS on this port: add secure=true to the URL, or use its other port"
	case strings.Contains(err.Error(), firstByte+"[72] "): // H
		return sink.Retry, "the server speaks HTTP on this port: use its native port, usually 9000, or a URL that begins with http://"
	case errors.Is(err, io.EOF) && strings.Contains(err.Error(), "handshake: "):
		return sink.Retry, "the server ends the connection at its beginning: if this is its port for TLS, add secure=true to the URL"
	case errors.Is(err, context.DeadlineExceeded):
		return sink.Retry, "no answer in time; what was sent may be stored, and sending it again does no harm"
	}
	return sink.Retry, ""
}

// firstByte is what the client says when a server does not begin as ClickHouse does, with the byte behind it.
const firstByte = "[handshake] unexpected packet "

// neededGrant finds in the server's text what is missing: "INSERT(a, b) ON db.t". Where any column would do, it says so in words.
var neededGrant = regexp.MustCompile("necessary to have (?:the )?grant ([A-Z][A-Z ]*)(?:\\([^)]*\\))? ON ((?:`[^`]+`|[\\w*-]+)(?:\\.(?:`[^`]+`|[\\w*-]+))?)")

// grantFor is the statement that gives a user what the server says is missing, for whole tables; empty where it is not about that.
func grantFor(err error, user string) string {
	var ex *clickhouse.Exception
	if !errors.As(err, &ex) || ex.Code != AccessDenied {
		return ""
	}
	m := neededGrant.FindStringSubmatch(ex.Message)
	if m == nil {
		return ""
	}
	return fmt.Sprintf("GRANT %s ON %s TO %s", m[1], m[2], ident(user))
}

// namesOf are the hosts that a certificate is for.
func namesOf(c *x509.Certificate) string {
	if c == nil {
		return "another name"
	}
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host at all (it has no subject alternative names)"
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], "...")
	}
	return strings.Join(names, ", ")
}

// issuerOf says who signed a certificate.
func issuerOf(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf(" (%q, signed by %q)", c.Subject.String(), c.Issuer.String())
}

// datesOf says when a certificate is valid.
func datesOf(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf(" (%q, valid from %s to %s)", c.Subject.String(), c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly))
}

// schemaCode tells whether an error may come from tables that are missing or different.
func schemaCode(err error) bool {
	var ex *clickhouse.Exception
	if errors.As(err, &ex) {
		hint, stop := stopCodes[ex.Code]
		return stop && hint == ""
	}
	var e *sink.Error
	return errors.As(err, &e) && e.Class == sink.Stop && e.Hint == ""
}

// explain replaces an error that comes from wrong tables by the one that says what is wrong with them and how to mend it.
func (s *Sink) explain(ctx context.Context, err error) error {
	if !schemaCode(err) {
		return err
	}
	var schema *sink.SchemaError
	if checked := s.Check(ctx); errors.As(checked, &schema) {
		return checked
	}
	return err
}

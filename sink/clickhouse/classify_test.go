package clickhouse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"github.com/weir-stream/weir/sink"
)

func TestClassOfServerErrors(t *testing.T) {
	classes := map[sink.Class][]int32{
		sink.Retry:  {3, 101, 159, 160, 202, 209, 210, 225, 236, 241, 242, 243, 252, 285, 286, 319, 394, 425, 439, 999, 1001, 987654},
		sink.Stop:   {8, 10, 16, 44, 47, 50, 53, 60, 62, 81, 115, 164, 192, 193, 194, 195, 291, 452, 497, 516},
		sink.Reject: {6, 26, 27, 33, 36, 38, 41, 69, 72, 131, 321, 349, 407, 469},
	}
	for want, codes := range classes {
		for _, code := range codes {
			ex := &clickhouse.Exception{Code: code, Message: "no"}
			for _, err := range []error{ex, fmt.Errorf("over: %w", ex), &clickhouse.HTTPError{StatusCode: 500, Err: ex}} {
				if got, _ := classOf(err); got != want {
					t.Errorf("code %d (%T) is %s, want %s", code, err, got, want)
				}
			}
		}
	}
}

func TestClassOfOtherErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want sink.Class
		hint string
	}{
		{io.EOF, sink.Retry, ""},
		{io.ErrUnexpectedEOF, sink.Retry, ""},
		{errors.New("anything"), sink.Retry, ""},
		{context.DeadlineExceeded, sink.Retry, "no answer in time"},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, sink.Retry, ""},
		{&net.DNSError{Name: "central", IsNotFound: true}, sink.Retry, "check the host"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, sink.Stop, "not trusted"},
		{&tls.CertificateVerificationError{Err: errors.New("of another kind")}, sink.Stop, "not trusted: check its dates"},
		{x509.HostnameError{Certificate: &x509.Certificate{}}, sink.Stop, "is for no host at all"},
		{errors.New("[handshake] unexpected packet [21] from server"), sink.Retry, "secure=true"},
		{errors.New("[handshake] unexpected packet [72] from server"), sink.Retry, "speaks HTTP"},
		{tls.RecordHeaderError{Msg: "no TLS"}, sink.Stop, "does not speak TLS"},
		{&column.ColumnConverterError{}, sink.Stop, ""},
		{&clickhouse.HTTPError{StatusCode: 401, Err: errors.New("x")}, sink.Stop, "user and password"},
		{&clickhouse.HTTPError{StatusCode: 404, Err: errors.New("x")}, sink.Stop, "HTTP port"},
		{&clickhouse.HTTPError{StatusCode: 503, Err: errors.New("x")}, sink.Retry, ""},
	} {
		class, hint := classOf(fmt.Errorf("over: %w", c.err))
		if class != c.want || !strings.Contains(hint, c.hint) {
			t.Errorf("%T: %s %q, want %s %q", c.err, class, hint, c.want, c.hint)
		}
	}
}

// TestMissingGrants reads what servers say of grants.
func TestMissingGrants(t *testing.T) {
	for _, c := range []struct{ url, says, want string }{
		{
			"clickhouse://edge:x@h:9000/weir", "edge: Not enough privileges. To execute this query, it's necessary to have the grant INSERT(site, `pipe line`, rev) ON weir.weir_coverage. ",
			"run GRANT INSERT ON weir.weir_coverage TO `edge` (deploy/README.md lists what a role needs)",
		},
		{
			"http://h:8123", "default: Not enough privileges. To execute this query it's necessary to have grant SELECT(a) ON `my-db`.`t`",
			"run GRANT SELECT ON `my-db`.`t` TO `default` (deploy/README.md lists what a role needs)",
		},
		{
			"clickhouse://edge@h/weir", "edge: Not enough privileges. To execute this query, it's necessary to have the grant CREATE TABLE ON weir.weir_usage. (ACCESS_DENIED)",
			"run GRANT CREATE TABLE ON weir.weir_usage TO `edge` (deploy/README.md lists what a role needs)",
		},
		{"clickhouse://edge@h/weir", "edge: Not enough privileges. To execute this query, it's necessary to have the grant CREATE DATABASE ON weir.*", "run GRANT CREATE DATABASE ON weir.* TO `edge` (deploy/README.md lists what a role needs)"},
		{"clickhouse://edge@h/weir", "edge: Not enough privileges. To execute this query, it's necessary to have the grant SELECT for at least one column on weir.t", "grant the user what the message names"},
		{"clickhouse://edge@h/weir", "", "grant the user what the message names"},
	} {
		hint, must := Advice(fmt.Errorf("over: %w", &clickhouse.Exception{Code: AccessDenied, Message: c.says}), c.url)
		if hint != c.want || !must {
			t.Errorf("%q gives %q, want %q", c.says, hint, c.want)
		}
	}
	if hint, must := Advice(io.EOF, "clickhouse://h"); hint != "" || must {
		t.Errorf("a connection that ends gives %q", hint)
	}
}

func TestTokenCoversEverything(t *testing.T) {
	seen := map[string]string{}
	try := func(what string, change func(*token)) {
		tok := newToken("t")
		change(tok)
		if other, dup := seen[tok.String()]; dup {
			t.Errorf("%s has the token of %s", what, other)
		}
		seen[tok.String()] = what
	}
	a, b := stampedCut([]int64{1, 2}, 0).Rows, stampedCut([]int64{1, 3}, 0).Rows
	f := a.Schema.Fields[0]
	try("nothing", func(*token) {})
	try("a column", func(k *token) { k.column(f, &a.Cols[0], 2) })
	try("other values", func(k *token) { k.column(f, &b.Cols[0], 2) })
	try("fewer values", func(k *token) { k.column(f, &a.Cols[0], 1) })
	try("a null", func(k *token) {
		c := a.Cols[0]
		c.Validity, c.Nulls = []byte{1}, 1
		k.column(f, &c, 2)
	})
	try("texts", func(k *token) { k.text("ab"); k.text("c") })
	try("texts cut elsewhere", func(k *token) { k.text("a"); k.text("bc") })
}

package clickhouse_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// certificate makes one for hosts that is its own authority, and the PEM file that says so.
func certificate(t *testing.T, until time.Time, hosts ...string) (cert tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "central"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// secure puts TLS before a server, and gives the address.
func secure(t *testing.T, cert tls.Certificate, to string) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if c.(*tls.Conn).HandshakeContext(t.Context()) != nil {
					return
				}
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer func() { _ = server.Close() }()
				go func() {
					_, _ = io.Copy(server, c)
					_ = server.Close()
				}()
				_, _ = io.Copy(c, server)
			}()
		}
	}()
	return l.Addr().String()
}

// TestTLS has servers with certificates that do not fit: what is wrong is said with the names that would be right, and what to do.
func TestTLS(t *testing.T) {
	p := embeddedtest.Server(t)
	if p == nil {
		t.Skip("the given server's ports are not known")
	}
	u, err := url.Parse(embeddedtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(24 * time.Hour)
	good, ca := certificate(t, soon, "127.0.0.1", "central.example")
	other, otherCA := certificate(t, soon, "elsewhere.example", "10.0.0.1")
	past, pastCA := certificate(t, time.Now().Add(-24*time.Hour), "127.0.0.1")
	for scheme, addr := range map[string]string{"clickhouse": p.Native, "https": p.HTTP} {
		for _, c := range []struct {
			name   string
			cert   tls.Certificate
			trust  string // PEM file with the authorities; the system's where it is empty
			params string
			want   string // empty: it works
		}{
			{"not trusted", good, "", "secure=true", `not trusted ("CN=central", signed by "CN=central"): add the certificate of its authority to the system's, or name the PEM file that has it in SSL_CERT_FILE`},
			{"of another host", other, otherCA, "secure=true", "certificate is for elsewhere.example, 10.0.0.1: use such a name in the URL, or add tls_server_name=NAME to it"},
			{"expired", past, pastCA, "secure=true", `("CN=central", valid from ` + time.Now().Add(-72*time.Hour).UTC().Format(time.DateOnly)},
			{"trusted", good, ca, "secure=true", ""},
			{"by another name", good, ca, "secure=true&tls_server_name=central.example", ""},
		} {
			t.Run(scheme+" "+c.name, func(t *testing.T) {
				at := secure(t, c.cert, addr)
				// The authorities of a process are read once, so each case is one.
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTLSClient$")
				cmd.Env = append(os.Environ(), "WEIR_TEST_TLS="+scheme+"://"+at+u.Path+"?"+c.params, "WEIR_TEST_TLS_WANT="+c.want)
				if c.trust != "" {
					cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+c.trust)
				}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
	t.Run("TLS where none is asked for", func(t *testing.T) {
		b := &bed{t: t, tab: temperature(), cfg: clickhouse.Config{URL: "clickhouse://" + secure(t, good, p.Native) + u.Path, Table: "temps"}}
		wantClass(t, b.open(b.cfg).Check(b.ctx()), sink.Retry, "if this is its port for TLS, add secure=true to the URL")
	})
	t.Run("none where TLS is asked for", func(t *testing.T) {
		b := &bed{t: t, tab: temperature(), cfg: clickhouse.Config{URL: "clickhouse://" + p.Native + u.Path + "?secure=true", Table: "temps"}}
		if err := b.open(b.cfg).Check(b.ctx()); err == nil || !strings.Contains(err.Error(), p.Native) {
			t.Errorf("%v", err)
		}
	})
}

// TestTLSClient is the client of a case of TestTLS.
func TestTLSClient(t *testing.T) {
	at, want := os.Getenv("WEIR_TEST_TLS"), os.Getenv("WEIR_TEST_TLS_WANT")
	if at == "" {
		t.Skip("TestTLS runs it")
	}
	b := &bed{t: t, tab: temperature(), cfg: clickhouse.Config{URL: at, Table: "temps"}}
	b.sink = b.open(b.cfg)
	if want == "" {
		b.apply()
		b.write(b.oneCut()...)
		return
	}
	wantClass(t, b.sink.Check(b.ctx()), sink.Stop, want)
	wantClass(t, b.sink.Write(b.ctx(), b.oneCut()), sink.Stop, want)
}

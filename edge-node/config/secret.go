package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
)

const redacted = "***"

// Secret is text that must not be seen: a password, or a URL that may hold one. However it is printed, logged or
// marshalled, it comes out as "***"; only Reveal gives it away.
type Secret struct {
	value string
}

// NewSecret wraps text.
func NewSecret(s string) Secret { return Secret{value: s} }

// Reveal is the text itself, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// IsZero tells whether there is no text.
func (s Secret) IsZero() bool { return s.value == "" }

// URL is the text as a URL with its password replaced, for people to read. Text that is no URL is replaced as a whole.
func (s Secret) URL() string {
	u, err := url.Parse(s.value)
	if s.value == "" || err != nil || u.Host == "" {
		return s.String()
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	prefix := shown.Scheme + "://"
	rest := shown.String()[len(prefix):]
	if u.User != nil {
		prefix += url.User(u.User.Username()).String()
		if _, has := u.User.Password(); has {
			prefix += ":" + redacted
		}
		prefix += "@"
	}
	// Drivers also take passwords as query parameters, so none is shown.
	if u.RawQuery != "" {
		rest += "?" + redacted
	}
	return prefix + rest
}

// String is "***", or empty where there is no text.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return redacted
}

// Format prints "***" whatever the verb, %#v and %x too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText is what encoding/json and others write.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML is what yaml writes.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue is what slog writes.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

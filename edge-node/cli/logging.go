package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/weir-stream/weir/edge-node/config"
)

// logger makes the program's logger: lines for people on a terminal, JSON elsewhere, unless told otherwise.
func (a *app) logger(c config.Log) *slog.Logger {
	level := map[config.LogLevel]slog.Level{
		config.LogDebug: slog.LevelDebug, config.LogWarn: slog.LevelWarn, config.LogError: slog.LevelError,
	}[c.Level] // anything else is info, which is 0
	if c.Format == config.LogJSON || c.Format != config.LogText && !terminal(a.stderr) {
		return slog.New(slog.NewJSONHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	}
	color := false
	if _, no := a.env.Lookup("NO_COLOR"); !no {
		color = terminal(a.stderr)
	}
	return slog.New(newTerminalHandler(a.stderr, level, color))
}

// terminalHandler writes "15:04:05 WARN  message key=value".
type terminalHandler struct {
	out   *sharedBuffer
	level slog.Level
	color bool
	attrs slog.Handler // writes the attributes into the shared buffer
}

// sharedBuffer is where a line is put together, by one goroutine at a time.
type sharedBuffer struct {
	mu  sync.Mutex
	w   io.Writer    // guarded by mu
	buf bytes.Buffer // guarded by mu
}

func newTerminalHandler(w io.Writer, level slog.Level, color bool) *terminalHandler {
	out := &sharedBuffer{w: w}
	return &terminalHandler{out: out, level: level, color: color, attrs: slog.NewTextHandler(&out.buf, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// Enabled implements slog.Handler.
func (h *terminalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle implements slog.Handler.
func (h *terminalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	b := &h.out.buf
	b.Reset()
	b.WriteString(r.Time.Format("15:04:05"))
	b.WriteByte(' ')
	level := r.Level.String()
	pad := strings.Repeat(" ", max(1, 6-len(level)))
	if code := map[slog.Level]string{slog.LevelWarn: "33", slog.LevelError: "31"}[r.Level]; h.color && code != "" {
		level = "\x1b[" + code + "m" + level + "\x1b[0m"
	}
	b.WriteString(level + pad + printable(r.Message) + "  ")
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	line := bytes.TrimRight(b.Bytes(), " \n")
	_, err := h.out.w.Write(append(line, '\n'))
	return err
}

// WithAttrs implements slog.Handler.
func (h *terminalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = h.attrs.WithAttrs(attrs)
	return &c
}

// WithGroup implements slog.Handler.
func (h *terminalHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.attrs = h.attrs.WithGroup(name)
	return &c
}

package config

import "time"

// Session is what windows are that end when no row of their key has come for a while.
type Session struct {
	// Gap is how long that is: rows of a key that are less than it apart are in one session. Whole milliseconds.
	Gap time.Duration
	// MaxLength bounds sessions: none goes beyond a multiple of it since 1970 in UTC, or the offset of the window later. Default 1d.
	MaxLength time.Duration
}

// defaultMaxLength is Session.MaxLength where the file does not say it.
const defaultMaxLength = 24 * time.Hour

func sessionTable() object[Session] {
	return object[Session]{
		what: "session",
		fields: []field[Session]{
			at("gap", windowLength(time.Millisecond), func(s *Session) *time.Duration { return &s.Gap },
				"How long no row of a key comes before its session ends.").must(),
			at("max_length", windowLength(time.Millisecond), func(s *Session) *time.Duration { return &s.MaxLength },
				"Sessions are cut at multiples of it since 1970 in UTC, so that one that never ends is shipped and need not be read again. Default 1d: at midnight."),
		},
	}
}

// checkSession finds what does not fit sessions.
func checkSession(r *reader, v value, w *Window) {
	s := w.Session
	w.Size, w.Every = s.MaxLength, s.MaxLength
	switch {
	case s.Gap > s.MaxLength:
		r.failf(v, "the gap of sessions, %s, is longer than they may be, %s", FormatDuration(s.Gap), FormatDuration(s.MaxLength)).Hint = "make max_length longer"
	case w.MaxKeys > 0:
		r.failf(v, "sessions have no max_keys: each is of one key").Hint = "leave max_keys out"
	case w.Offset >= s.MaxLength && w.Offset > 0:
		r.failf(v, "the offset %s is not below %s, where sessions are cut", FormatDuration(w.Offset), FormatDuration(s.MaxLength))
	}
	for _, a := range w.Aggregates {
		if a.Wasm != nil {
			r.addf(a.Pos, v.path+".aggregates", "window.aggregates.%s: aggregates of your own are not in sessions: a node does not merge their states", a.Name)
		}
	}
}

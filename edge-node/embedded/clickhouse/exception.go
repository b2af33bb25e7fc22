package clickhouse

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

// Codes of ClickHouse exceptions that the server itself raises (src/Common/ErrorCodes.cpp).
const (
	codeUnsupportedMethod = 1
	codeIncorrectData     = 117
	codeUnknownPacket     = 99
	codeUnexpectedPacket  = 101
	codeBadArguments      = 36
	codeUnknownType       = 50
	codeSyntaxError       = 62
	codeUnknownSetting    = 115
	codeTooManyConns      = 202
	codeSessionNotFound   = 372
	codeSessionLocked     = 373
	codeAuthFailed        = 516
	codeCancelled         = 394
	codeTooLargeBlock     = 129
	codeUnknown           = 1002
)

var codeNames = map[int]string{
	codeUnsupportedMethod: "UNSUPPORTED_METHOD",
	codeIncorrectData:     "INCORRECT_DATA",
	codeUnknownPacket:     "UNKNOWN_PACKET_FROM_CLIENT",
	codeUnexpectedPacket:  "UNEXPECTED_PACKET_FROM_CLIENT",
	codeBadArguments:      "BAD_ARGUMENTS",
	codeUnknownType:       "UNKNOWN_TYPE",
	codeSyntaxError:       "SYNTAX_ERROR",
	codeUnknownSetting:    "UNKNOWN_SETTING",
	codeTooManyConns:      "TOO_MANY_SIMULTANEOUS_QUERIES",
	codeSessionNotFound:   "SESSION_NOT_FOUND",
	codeSessionLocked:     "SESSION_IS_LOCKED",
	codeAuthFailed:        "AUTHENTICATION_FAILED",
	codeCancelled:         "QUERY_WAS_CANCELLED",
	codeTooLargeBlock:     "TOO_LARGE_STRING_SIZE",
	codeUnknown:           "UNKNOWN_EXCEPTION",
}

// exception is a ClickHouse error as both protocols carry it.
type exception struct {
	code    int
	message string // without the "Code: N. DB::Exception: " in front, with "(NAME)" at its end
}

func (e *exception) Error() string {
	return fmt.Sprintf("Code: %d. DB::Exception: %s", e.code, e.message)
}

func exceptionf(code int, format string, args ...any) *exception {
	name := codeNames[code]
	if name == "" {
		name = codeNames[codeUnknown]
	}
	return &exception{code: code, message: fmt.Sprintf(format, args...) + ". (" + name + ")"}
}

// asException turns any error into one. The engine's text reads "Code: 60. DB::Exception: Table ... (UNKNOWN_TABLE)".
func asException(err error) *exception {
	var e *exception
	if errors.As(err, &e) {
		return e
	}
	var engine *libchdb.Error
	if !errors.As(err, &engine) {
		return exceptionf(codeUnknown, "%v", err)
	}
	text := strings.TrimSpace(engine.Text)
	rest, ok := strings.CutPrefix(text, "Code: ")
	if !ok {
		return exceptionf(codeUnknown, "%s", text)
	}
	number, rest, ok := strings.Cut(rest, ".")
	code, err := strconv.Atoi(strings.TrimSpace(number))
	if !ok || err != nil {
		return exceptionf(codeUnknown, "%s", text)
	}
	rest = strings.TrimSpace(rest)
	for { // nested exceptions repeat the prefix
		cut, ok := strings.CutPrefix(rest, "DB::Exception: ")
		if !ok {
			break
		}
		rest = cut
	}
	return &exception{code: code, message: rest}
}

// httpStatus follows ClickHouse's own mapping (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp).
func httpStatus(code int) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, 291, 492, 497, codeAuthFailed:
		return http.StatusForbidden
	case 6, 8, 15, 25, 26, 27, 36, 38, 41, 44, 47, 53, 62, 72, 117, 130, 131, 321, 381, 427, 441, 467, 472, 675, 676:
		return http.StatusBadRequest
	case 46, 50, 56, 60, 63, 73, 81, 82, 115, 182, 372:
		return http.StatusNotFound
	case 159:
		return http.StatusRequestTimeout
	case 161, 223, 307:
		return http.StatusRequestEntityTooLarge
	case 48:
		return http.StatusNotImplemented
	case 209, 439, codeTooManyConns:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

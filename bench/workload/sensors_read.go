package workload

import (
	"bytes"
	"strconv"
)

// sensorRecord is a reading with all that the benchmarks read of it.
type sensorRecord struct {
	Device *string  `json:"device"`
	Site   *string  `json:"site"`
	TS     *int64   `json:"ts"`
	Temp   *float64 `json:"temp"`
	Status *string  `json:"status"`
	Seq    *int64   `json:"seq"`
}

// sensorReader reads readings for the truth. encoding/json takes longer for one than weir does for all of it, and what works the
// truth out stands between the generator and the broker. So a record that is, to the byte, as [SensorsGen] writes a good one is cut
// at the names of its columns, and encoding/json reads every other.
type sensorReader struct {
	v     sensorRecord
	texts map[string]string // of devices, sites and states: of each there is one
	// What v points to.
	device, site, status string
	ts, seq              int64
	temp                 float64
}

// read gives a reading that is there until the next one, or says why there is none.
func (s *sensorReader) read(value []byte) (v *sensorRecord, reason string) {
	if s.plain(value) {
		s.v = sensorRecord{&s.device, &s.site, &s.ts, &s.temp, &s.status, &s.seq}
		return &s.v, ""
	}
	s.v = sensorRecord{}
	return &s.v, unmarshal(value, &s.v)
}

// plain takes a record that is as SensorsGen writes it, without a note.
func (s *sensorReader) plain(b []byte) bool {
	device, b, ok := between(b, `{"device":"`, `","site":"`)
	if !ok {
		return false
	}
	site, b, ok := bytes.Cut(b, []byte(`","ts":`))
	if !ok {
		return false
	}
	ts, b, ok := bytes.Cut(b, []byte(`,"temp":`))
	if !ok {
		return false
	}
	temp, b, ok := bytes.Cut(b, []byte(`,"status":"`))
	if !ok {
		return false
	}
	status, b, ok := bytes.Cut(b, []byte(`","seq":`))
	if !ok {
		return false
	}
	seq, b, ok := bytes.Cut(b, []byte(`,"fw":"2.14.1","battery":`))
	if !ok || len(b) == 0 || b[len(b)-1] != '}' {
		return false
	}
	if !plainText(device) || !plainText(site) || !plainText(status) || !plainNumber(b[:len(b)-1], true) || !plainNumber(ts, false) || !plainNumber(temp, true) || !plainNumber(seq, false) {
		return false
	}
	var err [3]error
	s.ts, err[0] = strconv.ParseInt(string(ts), 10, 64)
	s.seq, err[1] = strconv.ParseInt(string(seq), 10, 64)
	s.temp, err[2] = strconv.ParseFloat(string(temp), 64)
	if err[0] != nil || err[1] != nil || err[2] != nil {
		return false
	}
	s.device, s.site, s.status = s.text(device), s.text(site), s.text(status)
	return true
}

// between is what is between the beginning of b and a text that follows.
func between(b []byte, begin, end string) (text, rest []byte, ok bool) {
	if b, ok = bytes.CutPrefix(b, []byte(begin)); !ok {
		return nil, nil, false
	}
	return bytes.Cut(b, []byte(end))
}

// text gives the one string there is of a text.
func (s *sensorReader) text(b []byte) string {
	if known, ok := s.texts[string(b)]; ok {
		return known
	}
	if s.texts == nil {
		s.texts = map[string]string{}
	}
	t := string(b)
	s.texts[t] = t
	return t
}

// plainText tells whether a text is of small letters and digits alone, as the generator's are.
func plainText(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// plainNumber tells whether a number is as the generator writes it: digits without a leading zero, and two decimals where hundredths
// are asked for. That is less than JSON allows.
func plainNumber(b []byte, hundredths bool) bool {
	if hundredths {
		if len(b) < 4 || b[len(b)-3] != '.' || !digits(b[len(b)-2:]) {
			return false
		}
		b = b[:len(b)-3]
		b = bytes.TrimPrefix(b, []byte("-"))
	}
	return digits(b) && (len(b) == 1 || b[0] != '0')
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

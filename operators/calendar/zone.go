package calendar

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	_ "embed" // for the rules
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
)

// zones has the rules of all time zones, as compiled from release 2025c of the IANA database, which is in the public domain. It
// is lib/time/zoneinfo.zip of the Go distribution.
//
// They are part of the binary, and those of the machine are never used: two nodes, or a node and whoever replays what it did, must
// agree on when a day begins. Package time/tzdata does not do: it comes after what the machine has.
//
//go:embed zoneinfo.zip
var zones string

// Zone is a time zone with its rules. It is immutable.
type Zone struct {
	name     string
	rules    string
	location *time.Location
}

// LoadZone finds a zone by its IANA name, such as Europe/Berlin.
func LoadZone(name string) (*Zone, error) {
	r, err := zip.NewReader(strings.NewReader(zones), int64(len(zones)))
	if err != nil {
		return nil, fmt.Errorf("read the time zones of this binary: %w", err)
	}
	for _, f := range r.File {
		if f.Name != name || strings.HasSuffix(name, "/") {
			continue
		}
		data, err := read(f)
		if err != nil {
			return nil, fmt.Errorf("read time zone %s: %w", name, err)
		}
		location, err := time.LoadLocationFromTZData(name, data)
		if err != nil {
			return nil, fmt.Errorf("read time zone %s: %w", name, err)
		}
		sum := sha256.Sum256(data)
		return &Zone{name: name, rules: hex.EncodeToString(sum[:8]), location: location}, nil
	}
	return nil, fmt.Errorf("there is no time zone %q", name)
}

func read(f *zip.File) ([]byte, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	if _, err = io.Copy(&data, in); err != nil {
		return nil, err
	}
	return data.Bytes(), in.Close()
}

// Zones lists the names of all zones.
func Zones() []string {
	r, err := zip.NewReader(strings.NewReader(zones), int64(len(zones)))
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range r.File {
		if !strings.HasSuffix(f.Name, "/") {
			names = append(names, f.Name)
		}
	}
	return names
}

// Name is the IANA name.
func (z *Zone) Name() string { return z.name }

// Rules is a hash of what is known of the zone, 16 hexadecimal digits. It changes when its government changes its mind, and weir
// learns of it.
func (z *Zone) Rules() string { return z.rules }

// Location is the zone for package time.
func (z *Zone) Location() *time.Location { return z.location }

//go:build !unix

package wasm

import (
	"errors"
	"io/fs"
	"os"
)

// checkPrivate refuses every folder: here nothing says who else can write to it.
func checkPrivate(string) error {
	return errors.New("compiled modules are kept on disk on Unix systems only")
}

func ownedByUs(fs.FileInfo) bool { return false }

func lockFolder(*os.Root) (*os.File, error) { return nil, errors.ErrUnsupported }

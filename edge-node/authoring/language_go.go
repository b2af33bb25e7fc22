package authoring

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"github.com/weir-stream/weir/operators/sdk"
)

const installGo = "install Go 1.24 or newer from https://go.dev/dl"

func langGo() *language {
	return &language{
		id: Go, files: []string{"*.go"}, build: buildGo,
		title: "Go", needs: "needs Go 1.24 or newer", source: "main.go",
		library: "`sdk/`: the library, a copy of that of weir %s, so that it builds without a network; `go.mod` says how to follow releases instead. " +
			"`GOOS=wasip1 GOARCH=wasm go doc -all github.com/weir-stream/weir/operators/sdk/go/weir` is its manual.",
		copied: func() map[string][]byte { return below("sdk/operators/sdk/go/weir", sdk.GoPackage()) },
	}
}

func buildGo(ctx context.Context, dir, tmp string, log io.Writer) (string, error) {
	tool := firstTool("go")
	if tool == "" {
		return "", &MissingError{"go", installGo}
	}
	out := filepath.Join(tmp, "op.wasm")
	env := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off"}
	said, err := run(ctx, dir, env, log, tool, "build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w -buildid=", "-o", out, ".")
	if err != nil && strings.Contains(said, "-buildmode=c-shared not supported") {
		return "", &MissingError{"Go that builds operators", installGo}
	}
	return out, err
}

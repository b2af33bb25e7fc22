package authoring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-stream/weir/operators/sdk"
)

// assemblyScript is the version of the compiler that the library and the examples are built with.
const assemblyScript = "0.28.20"

const installAssemblyScript = "install Node.js 20 or newer (https://nodejs.org; Debian, Ubuntu: apt install nodejs npm), then run " +
	"'npm install' in the operator's folder, or 'npm install --global assemblyscript@" + assemblyScript + "', or name the compiler in ASC"

func langAssemblyScript() *language {
	return &language{
		id: AssemblyScript, files: []string{"*.ts"}, build: buildAssemblyScript,
		title: "AssemblyScript", needs: "needs Node.js and AssemblyScript (`npm install` in this folder, or npx fetches it)", source: "NAME.ts",
		library: "`sdk/weir/`: the library, a copy of that of weir %s. The comment that begins `sdk/weir/index.ts` is its manual.",
		copied: func() map[string][]byte {
			files := below("sdk/weir", sdk.AssemblyScriptLibrary())
			files[".gitignore"] = []byte("/node_modules/\n")
			return files
		},
	}
}

// buildAssemblyScript compiles the main file of a folder. The library is that in sdk/weir, or else this program's.
func buildAssemblyScript(ctx context.Context, dir, tmp string, log io.Writer) (string, error) {
	tool, args, err := findASC(dir)
	if err != nil {
		return "", err
	}
	main, err := mainScript(dir)
	if err != nil {
		return "", err
	}
	library := "sdk"
	if _, err := os.Stat(filepath.Join(dir, "sdk", "weir", "index.ts")); err != nil {
		library = filepath.Join(tmp, "sdk")
		if err := writeFiles(library, below("weir", sdk.AssemblyScriptLibrary())); err != nil {
			return "", err
		}
	}
	out := filepath.Join(tmp, "op.wasm")
	args = append(args, main, "-o", out, "-O3", "--path", library, "--exportStart", "_initialize", "--use", "abort=~lib/weir/guest/weirAbort")
	said, err := run(ctx, dir, []string{"npm_config_update_notifier=false", "npm_config_loglevel=error"}, log, tool, args...)
	// What the compiler complains about is "ERROR AS100: ... in file.ts(1,2)"; all else is npx without it.
	if err != nil && filepath.Base(tool) == "npx" && strings.Contains(said, "npm ") && !strings.Contains(said, "ERROR ") {
		return "", &MissingError{"asc, the AssemblyScript compiler, and npx cannot fetch it", installAssemblyScript}
	}
	if err != nil && ctx.Err() == nil {
		err = errors.New("asc: it does not compile")
	}
	return out, err
}

// findASC finds the compiler: that of ASC, of the folder, of the path, and at last what npx has or fetches.
func findASC(dir string) (tool string, args []string, err error) {
	if asc := os.Getenv("ASC"); asc != "" {
		if tool := firstTool(asc); tool != "" {
			return tool, nil, nil
		}
		return "", nil, &MissingError{asc + ", which ASC names", installAssemblyScript}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	if tool := firstTool(filepath.Join(abs, "node_modules", ".bin", "asc"), "asc"); tool != "" {
		return tool, nil, nil
	}
	if tool := firstTool("npx"); tool != "" {
		return tool, []string{"--yes", "--prefer-offline", "--package", "assemblyscript@" + assemblyScript, "--", "asc"}, nil
	}
	return "", nil, &MissingError{"asc, the AssemblyScript compiler", installAssemblyScript}
}

// mainScript is the file that an operator begins with: that of the folder's name, index.ts, or the only one.
func mainScript(dir string) (string, error) {
	files, err := sources(dir, ".ts")
	if err != nil {
		return "", err
	}
	module, err := ModuleFile(dir)
	if err != nil {
		return "", err
	}
	name := strings.TrimSuffix(filepath.Base(module), ".wasm") + ".ts"
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".d.ts") })
	switch {
	case slices.Contains(files, name):
		return name, nil
	case slices.Contains(files, "index.ts"):
		return "index.ts", nil
	case len(files) == 1:
		return files[0], nil
	case len(files) == 0:
		return "", errors.New("no .ts file")
	}
	return "", fmt.Errorf("which of %s does the operator begin with? Call it %s or index.ts", strings.Join(files, ", "), name)
}

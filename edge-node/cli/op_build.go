package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/authoring"
)

// built is the answer about a build.
type built struct {
	Module   string             `json:"module"`
	Language authoring.Language `json:"language"`
	Size     int                `json:"size"` // bytes
	Digest   string             `json:"digest"`
	Refused  string             `json:"refused,omitempty"`
}

func (a *app) opBuild() *cobra.Command {
	out, asJSON := "", false
	cmd := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Compile an operator",
		Long: `Compile the operator in a folder, the current one by default, to DIR/NAME.wasm,
where NAME is the folder's name. The language is that of the files in it:

  *.c          clang and wasm-ld; CLANG names another clang
  *.cc, *.cpp  the same, C++17 without exceptions
  *.go         go build for wasip1; needs Go 1.24
  Cargo.toml   cargo, for wasm32-unknown-unknown
  *.ts         asc, the AssemblyScript compiler: that of ASC, of node_modules, of the
               path, or what npx fetches

Builds are reproducible: the same source and compiler give the same digest. What
is built is checked as a node would check it; what that refuses is exit code 1.`,
		Example: "  weir op build\n  weir op build scale -o pipelines/scale.wasm",
		Args:    noneOrOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := folderOr(args)
			if out == "" {
				var err error
				if out, err = authoring.ModuleFile(dir); err != nil {
					return err
				}
			}
			lang, err := a.buildModule(cmd, dir, out)
			if err != nil {
				return err
			}
			module, err := authoring.ReadModule(out)
			if err != nil {
				return err
			}
			r, err := authoring.Inspect(cmd.Context(), out, module, nil, nil)
			if err != nil {
				return err
			}
			b := built{out, lang, r.Size, r.Digest, r.Refused}
			if asJSON {
				err = a.printJSON(b)
			} else {
				_, err = fmt.Fprintf(a.stdout, "%s  %s  %s\n", b.Module, bytesText(b.Size), b.Digest)
			}
			if err == nil && b.Refused != "" {
				err = fmt.Errorf("%s is built, but a node would not run it: %s", out, b.Refused)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file of the module")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// bytesText is a size for people.
func bytesText(n int) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

func (a *app) embeddedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "embedded",
		Short:   "Run the broker or the ClickHouse that come with weir",
		GroupID: "other",
		Long: `Run the broker or the ClickHouse that come with weir, for trying things out, for
tests and for single-box installs. They speak the protocols of the real ones, so
any Kafka or ClickHouse client works with them.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.embeddedKafka(), a.embeddedClickHouse(), a.embeddedFetch())
	return cmd
}

func (a *app) embeddedKafka() *cobra.Command {
	var cfg kafka.Config
	port, asJSON := 0, false
	cmd := &cobra.Command{
		Use:   "kafka",
		Short: "Run the embedded Kafka broker until interrupted",
		Long: `Run the embedded Kafka broker on loopback until interrupted.

Without --dir its data is in a temporary folder that goes away with it.`,
		Example: `  weir embedded kafka --port 9092 --dir ~/.weir/kafka
  weir embedded kafka --json      # one line with the address, then serve`,
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Ports, cfg.Log = []int{port}, a.stderr
			cfg.Ready = a.ready(asJSON, func(line []byte) string {
				var r kafka.ReadyLine
				if json.Unmarshal(line, &r) != nil {
					return ""
				}
				return fmt.Sprintf("Kafka is ready on %s\n\n  weir run --kafka %[1]s pipeline.yaml\n\nCtrl-C stops it.\n", strings.Join(r.Brokers, ","))
			})
			return withDir(&cfg.Dir, func() error {
				b, err := kafka.New(cfg)
				if err != nil {
					return err
				}
				return b.Run(cmd.Context())
			})
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "port on loopback; 0 is a free one")
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "folder for the data, kept after the end")
	cmd.Flags().IntVar(&cfg.Partitions, "partitions", 8, "partitions of a topic that is created without a number")
	cmd.Flags().BoolVar(&cfg.AutoCreate, "auto-create", false, "create topics that clients ask for")
	cmd.Flags().BoolVar(&asJSON, "json", false, "announce the address as one line of JSON")
	return cmd
}

func (a *app) embeddedClickHouse() *cobra.Command {
	var cfg clickhouse.Config
	port, httpPort, asJSON := 0, 0, false
	memory := "2GiB"
	cmd := &cobra.Command{
		Use:   "clickhouse",
		Short: "Run the embedded ClickHouse until interrupted",
		Long: `Run the embedded ClickHouse on loopback until interrupted: the native protocol
and HTTP. Its engine is fetched once, about 180 MB; WEIR_LIBCHDB names a file to
use instead.

Without --dir its data is in a temporary folder that goes away with it.`,
		Example: `  weir embedded clickhouse --port 9000 --http-port 8123 --dir ~/.weir/clickhouse
  weir embedded clickhouse --json      # one line with the addresses, then serve`,
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			size, err := config.ParseSize(memory)
			if err != nil {
				return usagef(cmd, "--memory: %v", err)
			}
			if cfg.LibPath, err = libchdb.Ensure(cmd.Context(), a.stderr); err != nil {
				return err
			}
			cfg.MaxMemory = size
			cfg.NativeAddr, cfg.HTTPAddr = fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", httpPort)
			cfg.Ready = a.ready(asJSON, func(line []byte) string {
				var r clickhouse.ReadyLine
				if json.Unmarshal(line, &r) != nil {
					return ""
				}
				return fmt.Sprintf("ClickHouse %s is ready\n\n  weir query --url clickhouse://%s 'SELECT version()'\n"+
					"  clickhouse-client --port %s\n  curl 'http://%s/?query=SELECT+version()'\n\nCtrl-C stops it.\n",
					r.Version, r.Native, r.Native[strings.LastIndexByte(r.Native, ':')+1:], r.HTTP)
			})
			return withDir(&cfg.Dir, func() error { return serveClickHouse(cmd.Context(), cfg) })
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "port of the native protocol on loopback; 0 is a free one")
	cmd.Flags().IntVar(&httpPort, "http-port", 0, "port of HTTP on loopback; 0 is a free one")
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "folder for the data, kept after the end")
	cmd.Flags().StringVar(&memory, "memory", memory, "most memory of the engine")
	cmd.Flags().BoolVar(&asJSON, "json", false, "announce the addresses as one line of JSON")
	return cmd
}

func serveClickHouse(ctx context.Context, cfg clickhouse.Config) error {
	s, err := clickhouse.New(cfg)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func (a *app) embeddedFetch() *cobra.Command {
	return &cobra.Command{
		Use:   "fetch",
		Short: "Fetch the engine of the embedded ClickHouse and print where it is",
		Long: `Fetch the engine of the embedded ClickHouse, about 180 MB, into the cache folder,
and print the path of the library. It is checked against a pinned sum. Nothing is
done when it is there.`,
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := libchdb.Ensure(cmd.Context(), a.stderr)
			if err == nil {
				fmt.Fprintln(a.stdout, path)
			}
			return err
		},
	}
}

// withDir runs with a temporary folder where none is given.
func withDir(dir *string, run func() error) error {
	if *dir == "" {
		made, err := os.MkdirTemp("", "weir-")
		if err != nil {
			return fmt.Errorf("make a data folder: %w", err)
		}
		defer func() { _ = os.RemoveAll(made) }()
		*dir = made
	}
	return run()
}

// ready passes on the line a service announces itself with, for programs as it is and for people in words.
func (a *app) ready(asJSON bool, words func([]byte) string) io.Writer {
	return writerFunc(func(line []byte) (int, error) {
		text := words(line)
		if asJSON || text == "" {
			text = string(line)
		}
		_, err := io.WriteString(a.stdout, text)
		return len(line), err
	})
}

type writerFunc func([]byte) (int, error)

// Write implements io.Writer.
func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/edge-node/web"
)

func (a *app) spoolCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "spool",
		Short:   "The local store of a node: look at it, ship it, remove parts of it",
		GroupID: "pipelines",
		Long: `A node with a state_dir keeps open windows there, and what ClickHouse has not
acknowledged. These commands run on the node's machine, with its node.yaml. Where
the node runs they ask it, at its address for metrics; where it does not, they open
the store themselves.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(completeFiles(a.spoolList()), completeFiles(a.spoolDrain()), completeFiles(a.spoolDrop()))
	return cmd
}

// spooled is the answer of spool ls.
type spooled struct {
	StateDir string                `json:"state_dir"`
	Running  bool                  `json:"running"`
	Lanes    []pipeline.StoredLane `json:"lanes"`
}

func (a *app) spoolList() *cobra.Command {
	var node nodeFlags
	asJSON := false
	cmd := &cobra.Command{
		Use:   "ls [FILE...]",
		Short: "List what the local store has",
		Long: `List what the local store has: for each partition of each revision of a pipeline the
offset it is complete to, rows and the windows they are of, dead letters, and bytes.

UNSENT says whether ClickHouse has acknowledged all of it, which only a running node
knows. Rows of open windows stay on the disk although they are acknowledged.

STATE is 'current' for what a pipeline goes on with; 'other revision', 'not
configured' or 'not assigned' for what is left of revisions, pipelines and topics that
are no more, or that another node reads now. Of a node that does not run it is known
if the pipeline files are given. 'weir spool drop' removes what is left.`,
		Example: `  weir spool ls -c node.yaml
  weir spool ls --state-dir /var/lib/weir/state pipelines/
  weir spool ls --json | jq '[.lanes[].rows] | add'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := node.load(a)
			if err != nil {
				return err
			}
			answer, err := a.spooled(cmd.Context(), n, args)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(answer)
			}
			return a.printSpool(answer)
		},
	}
	node.add(cmd, "site", "listen", "state-dir")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what there is as JSON")
	return cmd
}

// spooled asks the node that runs, or looks at the store itself.
func (a *app) spooled(ctx context.Context, n config.Node, args []string) (*spooled, error) {
	store, err := pipeline.LookAtStore(n, a.logger(n.Log))
	if errors.Is(err, pipeline.ErrStoreInUse) {
		var got web.Spool
		if err := askNode(ctx, n, http.MethodGet, "/spool", &got); err != nil {
			return nil, err
		}
		return &spooled{n.StateDir, true, got.Lanes}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	revisions, err := a.revisions(ctx, n, args)
	if err != nil {
		return nil, err
	}
	lanes, err := store.Lanes(revisions)
	return &spooled{n.StateDir, false, lanes}, err
}

// revisions are those of pipeline files, or nil where none are given.
func (a *app) revisions(ctx context.Context, n config.Node, args []string) (map[string]uint64, error) {
	if len(args) == 0 {
		return nil, nil
	}
	files, err := pipelineFiles(args)
	if err != nil {
		return nil, err
	}
	plans, err := a.planFiles(ctx, files, n, noServers, pipeline.Options{Log: a.logger(n.Log)})
	revisions := map[string]uint64{}
	for _, p := range plans {
		revisions[p.Spec.Name] = p.Revision
	}
	return revisions, closePlans(plans, err)
}

// askNode asks the node that runs on this machine, at its address for metrics.
func askNode(ctx context.Context, n config.Node, method, path string, answer any) error {
	host, port, err := net.SplitHostPort(n.Listen)
	if err != nil {
		return fmt.Errorf("listen %s: %w", n.Listen, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	url := "http://" + net.JoinHostPort(host, port) + path
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set(web.DrainHeader, "drain")
	client := &http.Client{Transport: &http.Transport{}} // no proxy stands between a node and itself
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fmt.Errorf("another process uses the store in %s, and it does not answer at %s: give the node's own --config or --listen; %w", n.StateDir, n.Listen, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("ask the node at %s: %s: %s", n.Listen, resp.Status, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("ask the node at %s: its answer: %w", n.Listen, err)
	}
	return nil
}

var spoolColumns = []column{
	newColumn("pipeline", "String"), newColumn("revision", "String"), newColumn("topic", "String"), newColumn("partition", "Int32"),
	newColumn("state", "String"), newColumn("position", "Int64"), newColumn("rows", "Int64"), newColumn("first window", "DateTime"),
	newColumn("last window", "DateTime"), newColumn("letters", "Int64"), newColumn("bytes", "Int64"), newColumn("unsent", "String"),
	newColumn("saved", "String"),
}

func (a *app) printSpool(s *spooled) error {
	if len(s.Lanes) == 0 {
		_, err := fmt.Fprintf(a.stdout, "the local store in %s is empty\n", s.StateDir)
		return err
	}
	out := newTableSheet(a.stdout)
	if err := out.begin(spoolColumns); err != nil {
		return err
	}
	for i := range s.Lanes {
		l := &s.Lanes[i]
		topic, state, unsent, saved := l.Topic, l.State, "?", "?"
		if topic == "" {
			topic = l.TopicID
		}
		if state == "" {
			state = "?"
		}
		if l.Unsent != nil {
			unsent = map[bool]string{true: "yes", false: "no"}[*l.Unsent]
		}
		if l.SavedAt != nil {
			saved = max(0, time.Since(*l.SavedAt)).Round(time.Second).String() + " ago"
		}
		if err := out.row([]any{
			l.Pipeline, l.Revision, topic, l.Partition, state, l.Position, l.Rows, windowText(l.FirstWindow), windowText(l.LastWindow),
			l.Letters, l.Bytes, unsent, saved,
		}); err != nil {
			return err
		}
	}
	if err := out.end(); err != nil {
		return err
	}
	if !s.Running {
		fmt.Fprintln(a.stderr, "the node does not run: what ClickHouse has acknowledged of this is not known; sending it again does no harm")
	}
	return nil
}

func windowText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.DateTime)
}

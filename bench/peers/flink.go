package peers

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/weir-stream/weir/bench/contender"
)

//go:embed flink/*.sql
var flinkSQL embed.FS

// flinkMain is what sql-client.sh starts.
const flinkMain = "org.apache.flink.table.client.SqlClient"

// Flink is Apache Flink with its SQL client, for W1 and W2. FLINK_HOME is where it is, or the folder above that of sql-client.sh on PATH;
// the jar of its SQL connector for Kafka must be in lib. The job runs in the client's own process, so that nothing is left out of what
// is measured.
//
// It has one watermark, and late rows are those behind the slowest partition: with records that are late by nearly what is
// allowed, its answer need not be that of the truth.
func Flink() contender.Contender {
	return contender.Contender{
		Name: "flink", About: "Apache Flink SQL in one process, no checkpoints; the answer goes to a file",
		Command: func(_ context.Context, t contender.Task) (contender.Command, error) {
			if t.Case.Name != "sensors" && t.Case.Name != "project" {
				return contender.Command{}, contender.Cannot("written for sensors and project alone")
			}
			classes, home, err := flinkClasses()
			if err != nil {
				return contender.Command{}, err
			}
			java, err := exec.LookPath("java")
			if err != nil {
				return contender.Command{}, contender.Cannot("it needs Java 11 or newer: %v", err)
			}
			conf := filepath.Join(t.Dir, "conf")
			if err := os.MkdirAll(conf, 0o700); err != nil {
				return contender.Command{}, fmt.Errorf("make a folder for Flink: %w", err)
			}
			script := filepath.Join(t.Dir, "job.sql")
			text, err := render(flinkSQL, t, "flink/readings.sql", "flink/"+t.Case.Name+".sql")
			if err != nil {
				return contender.Command{}, err
			}
			if err := errors.Join(os.WriteFile(filepath.Join(conf, "config.yaml"), nil, 0o600), os.WriteFile(script, text, 0o600)); err != nil {
				return contender.Command{}, fmt.Errorf("write the job for Flink: %w", err)
			}
			answer := filepath.Join(t.Dir, "answer.jsonl")
			return contender.Command{
				Path: java, Args: []string{"-cp", classes, flinkMain, "embedded", "-f", script},
				Env:    []string{"FLINK_HOME=" + home, "FLINK_CONF_DIR=" + conf},
				Finish: func() error { return join(answer, filepath.Join(t.Dir, "answer")) },
				Answer: contender.Answer{File: answer},
			}, nil
		},
	}
}

// flinkClasses is the class path of the client as sql-client.sh has it.
func flinkClasses() (classes, home string, err error) {
	if home = os.Getenv("FLINK_HOME"); home == "" {
		script, err := exec.LookPath("sql-client.sh")
		if err != nil {
			return "", "", contender.Cannot("FLINK_HOME is not set, and its client is not on PATH: %v", err)
		}
		if script, err = filepath.EvalSymlinks(script); err != nil {
			return "", "", contender.Cannot("find the folder of Flink: %v", err)
		}
		home = filepath.Dir(filepath.Dir(script))
	}
	classes = filepath.Join(home, "lib", "*")
	for _, jar := range []string{"opt/flink-sql-client-*.jar", "opt/flink-sql-gateway-*.jar", "opt/flink-python-*.jar"} {
		found, err := filepath.Glob(filepath.Join(home, jar))
		if err != nil || len(found) == 0 {
			return "", "", contender.Cannot("there is no %s in %s", jar, home)
		}
		classes += string(os.PathListSeparator) + found[0]
	}
	if found, err := filepath.Glob(filepath.Join(home, "lib", "flink-sql-connector-kafka-*.jar")); err != nil || len(found) == 0 {
		return "", "", contender.Cannot("the SQL connector for Kafka is not in %s: fetch org.apache.flink:flink-sql-connector-kafka for its version", filepath.Join(home, "lib"))
	}
	return classes, home, nil
}

// join makes one file of those in a folder.
func join(file, dir string) error {
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("make the answer: %w", err)
	}
	defer func() { _ = out.Close() }()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		part, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = part.Close() }()
		_, err = io.Copy(out, part)
		return err
	})
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("make the answer of %s: %w", dir, err)
	}
	return nil
}

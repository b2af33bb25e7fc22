package peers

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/bench/contender"
)

//go:embed kafkastreams/Bench.java
var streamsSource []byte

//go:embed kafkastreams/pom.xml
var streamsPom []byte

const (
	// copyGoal is pinned: Maven's own default differs from release to release.
	copyGoal     = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
	fetchTimeout = 5 * time.Minute
)

// KafkaStreams is a program in the DSL of Kafka Streams, for W1 and W2. It needs a JDK, and Maven the first time, which fetches
// the library's jars from Maven Central into the user's cache; the program is compiled there, too.
//
// It is run as it comes: RocksDB, a changelog topic for its windows, at least once, a thread per core. What it does not have to
// do: there is no database at the end of it, its answer is read from its own store; and W1's operator is a line of Java.
func KafkaStreams() contender.Contender {
	return contender.Contender{
		Name: "kafka-streams", About: "Kafka Streams 4.1.0, its DSL, RocksDB and a changelog, at least once; the answer stays in its store",
		Command: func(ctx context.Context, t contender.Task) (contender.Command, error) {
			if t.Case.Name != "sensors" && t.Case.Name != "project" {
				return contender.Command{}, contender.Cannot("written for sensors and project alone")
			}
			java, err := exec.LookPath("java")
			if err != nil {
				return contender.Command{}, contender.Cannot("it needs Java 17 or newer: %v", err)
			}
			classes, err := streamsClasses(ctx)
			if err != nil {
				return contender.Command{}, err
			}
			return contender.Command{
				Path: java,
				Args: []string{
					"-cp", classes, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "Bench", t.Case.Name, strings.Join(t.Brokers, ","), t.Topic, t.Name,
					strconv.FormatInt(t.Size.Events, 10), strconv.Itoa(max(t.Cores, 1)), t.Dir,
				},
				Answer: contender.Answer{File: filepath.Join(t.Dir, "answer.jsonl")},
			}, nil
		},
	}
}

// streamsClasses is the class path of the program, which is built where it is not there yet. The folder appears whole, so that
// several processes may do so at a time. What cannot be fetched is a reason to leave the program out; a program that does not compile
// is a mistake.
func streamsClasses(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", contender.Cannot("there is no folder for its jars: %v", err)
	}
	parent := filepath.Join(cache, "weir", "peers")
	sum := sha256.Sum256(bytes.Join([][]byte{streamsPom, streamsSource}, []byte{0}))
	dir := filepath.Join(parent, fmt.Sprintf("kafka-streams-%x", sum[:8]))
	classes := dir + string(os.PathListSeparator) + filepath.Join(dir, "lib", "*")
	if _, err := os.Stat(dir); err == nil {
		return classes, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", contender.Cannot("its jars are not in %s yet, and it needs Maven to fetch them: %v", dir, err)
	}
	javac, err := exec.LookPath("javac")
	if err != nil {
		return "", contender.Cannot("it needs a JDK to compile it: %v", err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make a folder for Kafka Streams: %w", err)
	}
	made, err := os.MkdirTemp(parent, "build-")
	if err != nil {
		return "", fmt.Errorf("make a folder for Kafka Streams: %w", err)
	}
	defer func() { _ = os.RemoveAll(made) }()
	pom, source := filepath.Join(made, "pom.xml"), filepath.Join(made, "Bench.java")
	if err := errors.Join(os.WriteFile(pom, streamsPom, 0o644), os.WriteFile(source, streamsSource, 0o644)); err != nil {
		return "", fmt.Errorf("write the program for Kafka Streams: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	lib := filepath.Join(made, "lib")
	if out, err := exec.CommandContext(ctx, mvn, "-B", "-q", "-f", pom, copyGoal, "-DincludeScope=runtime", "-DoutputDirectory="+lib).CombinedOutput(); err != nil {
		return "", contender.Cannot("fetch its jars with Maven: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(ctx, javac, "-d", made, "-cp", filepath.Join(lib, "*"), source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the program for Kafka Streams: %w\n%s", err, out)
	}
	if err := os.Rename(made, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", fmt.Errorf("keep the program for Kafka Streams: %w", err)
		}
	}
	return classes, nil
}

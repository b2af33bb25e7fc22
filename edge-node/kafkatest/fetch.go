package kafkatest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// pom names the jars. A change of it is another folder in the cache.
//
//go:embed pom.xml
var pom []byte

const (
	// EnvJars names a folder with the jars of a Kafka that is there already, such as libs/ of a distribution.
	EnvJars = "WEIR_KAFKA_JARS"
	// copyGoal is pinned: Maven's own default differs from release to release.
	copyGoal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
	// javaNeeded is the oldest Java that brokers of Kafka 4 run on.
	javaNeeded   = 17
	fetchTimeout = 5 * time.Minute
)

// need finds Java and the jars. Where they cannot be had the test is skipped, or fails if this is CI.
func need(t testing.TB) (java, jars string) {
	t.Helper()
	java, err := findJava()
	if err == nil {
		jars, err = findJars(t.Context())
	}
	if err == nil {
		return java, jars
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("no Apache Kafka to test with: %v", err)
	}
	t.Skipf("SKIPPED, nothing was tested against Apache Kafka: %v", err)
	return "", ""
}

var javaVersion = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

func findJava() (string, error) {
	java := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "java")
	if _, err := os.Stat(java); os.Getenv("JAVA_HOME") == "" || err != nil {
		if java, err = exec.LookPath("java"); err != nil {
			return "", fmt.Errorf("it needs Java %d or newer: %w", javaNeeded, err)
		}
	}
	out, err := exec.Command(java, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("run %s -version: %w", java, err)
	}
	m := javaVersion.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s -version says %q, which names no version", java, out)
	}
	if major, err := strconv.Atoi(string(m[1])); err != nil || major < javaNeeded {
		return "", fmt.Errorf("%s is Java %s, and it needs %d or newer", java, m[1], javaNeeded)
	}
	return java, nil
}

// findJars gives the folder with the jars, which Maven fetches once. Test binaries may do so at the same time: the folder
// appears whole.
func findJars(ctx context.Context) (string, error) {
	if dir := os.Getenv(EnvJars); dir != "" {
		if found, _ := filepath.Glob(filepath.Join(dir, "kafka_*.jar")); len(found) == 0 {
			return "", fmt.Errorf("%s=%s has no kafka_*.jar", EnvJars, dir)
		}
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache: %w", err)
	}
	parent := filepath.Join(cache, "weir", "kafka")
	dir := filepath.Join(parent, fmt.Sprintf("%x", sha256.Sum256(pom))[:16])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("its jars are not in %s, and Maven, which fetches them, is missing (or name a folder that has them with %s): %w", dir, EnvJars, err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(parent, "fetch-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(made) }()
	file, lib := filepath.Join(made, "pom.xml"), filepath.Join(made, "lib")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, mvn, "-B", "-q", "-f", file, copyGoal, "-DincludeScope=runtime", "-DoutputDirectory="+lib).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("fetch its jars with Maven: %w\n%s", err, out)
	}
	if err := os.Rename(lib, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", errors.Join(err, there)
		}
	}
	return dir, nil
}

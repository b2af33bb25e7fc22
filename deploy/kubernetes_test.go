package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-stream/weir/edge-node/cli"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/web"
)

// The manifests have these fields and no others, so that one that is misspelled is found, which a cluster may only warn of.
type (
	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   metadata
		Data       map[string]string
		Spec       yaml.Node
	}
	metadata struct {
		Name                string
		Labels, Annotations map[string]string
	}
	selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	port struct {
		Name, Protocol string
		Port           int
		ContainerPort  int    `yaml:"containerPort"`
		TargetPort     string `yaml:"targetPort"`
	}
	service struct {
		ClusterIP                string `yaml:"clusterIP"`
		PublishNotReadyAddresses bool   `yaml:"publishNotReadyAddresses"`
		Selector                 map[string]string
		Ports                    []port
	}
	disruptions struct {
		MaxUnavailable int `yaml:"maxUnavailable"`
		Selector       selector
	}
	policy struct {
		PodSelector     selector `yaml:"podSelector"`
		PolicyTypes     []string `yaml:"policyTypes"`
		Ingress, Egress []struct{ Ports []port }
	}
	claim struct {
		Metadata metadata
		Spec     struct {
			AccessModes []string `yaml:"accessModes"`
			Resources   resources
		}
	}
	resources struct{ Requests, Limits map[string]string }
	set       struct {
		ServiceName          string `yaml:"serviceName"`
		Replicas             int
		PodManagementPolicy  string `yaml:"podManagementPolicy"`
		Selector             selector
		VolumeClaimTemplates []claim `yaml:"volumeClaimTemplates"`
		Template             struct {
			Metadata metadata
			Spec     pod
		}
	}
	pod struct {
		AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
		TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               struct {
			RunAsNonRoot        bool              `yaml:"runAsNonRoot"`
			RunAsUser           int               `yaml:"runAsUser"`
			RunAsGroup          int               `yaml:"runAsGroup"`
			FSGroup             int               `yaml:"fsGroup"`
			FSGroupChangePolicy string            `yaml:"fsGroupChangePolicy"`
			SeccompProfile      map[string]string `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		Containers []container
		Volumes    []volume
	}
	volume struct {
		Name      string
		ConfigMap metadata `yaml:"configMap"`
	}
	container struct {
		Name, Image     string
		Args            []string
		Env             []variable
		Ports           []port
		LivenessProbe   probe `yaml:"livenessProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		Resources       resources
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             map[string][]string
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			SubPath   string `yaml:"subPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	variable struct {
		Name      string
		ValueFrom struct {
			FieldRef     map[string]string `yaml:"fieldRef"`
			SecretKeyRef map[string]string `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	probe struct {
		HTTPGet             struct{ Path, Port string } `yaml:"httpGet"`
		InitialDelaySeconds int                         `yaml:"initialDelaySeconds"`
		PeriodSeconds       int                         `yaml:"periodSeconds"`
		TimeoutSeconds      int                         `yaml:"timeoutSeconds"`
		FailureThreshold    int                         `yaml:"failureThreshold"`
	}
)

// strictly decodes YAML, and refuses fields that the type has not.
func strictly(t *testing.T, what string, data []byte, to any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// manifests reads the objects by kind and name.
func manifests(t *testing.T) map[string]object {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(read(t, "kubernetes/weir.yaml")))
	d.KnownFields(true)
	all := map[string]object{}
	for {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if id := o.Kind + " " + o.Metadata.Name; all[id].Kind != "" || o.APIVersion == "" || o.Metadata.Labels["app.kubernetes.io/name"] != "weir" {
			t.Fatalf("%s: %+v", id, o.Metadata)
		} else {
			all[id] = o
		}
	}
}

func spec(t *testing.T, all map[string]object, id string, to any) {
	t.Helper()
	o, ok := all[id]
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	data, err := yaml.Marshal(&o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	strictly(t, id, data, to)
}

// TestKubernetes holds the manifest to what the binary has: flags, settings, ports, probes, folders and how long a stop takes.
func TestKubernetes(t *testing.T) {
	all := manifests(t)
	var s set
	spec(t, all, "StatefulSet weir", &s)
	p, c := s.Template.Spec, s.Template.Spec.Containers[0]
	labels := map[string]string{"app.kubernetes.io/name": "weir"}

	// What it is started with.
	if c.Args[0] != "run" || len(p.Containers) != 1 {
		t.Fatalf("it runs %q", c.Args)
	}
	var help bytes.Buffer
	if code := cli.Main(t.Context(), []string{"run", "--help"}, &help, &help); code != 0 {
		t.Fatal(help.String())
	}
	for _, arg := range c.Args {
		if strings.HasPrefix(arg, "-") && !strings.Contains(help.String(), arg+" ") {
			t.Errorf("weir run has no flag %s", arg)
		}
	}
	for _, path := range []string{"/etc/weir/node.yaml", "/etc/weir/pipelines"} {
		if !slices.Contains(c.Args, path) || !mounts(&c, path) {
			t.Errorf("%s is not both mounted and an argument: %q, %+v", path, c.Args, c.VolumeMounts)
		}
	}

	// The settings, with the environment of the pod.
	env := config.Env{Lookup: func(name string) (string, bool) {
		for _, v := range c.Env {
			if v.Name == name {
				return map[string]string{"WEIR_NODE": "weir-0", "WEIR_CLICKHOUSE": "clickhouse://weir:x@central:9440/weir?secure=true"}[name], true
			}
		}
		return "", false
	}}
	nodeYAML := all["ConfigMap weir"].Data["node.yaml"]
	n, err := config.ParseNode("node.yaml", []byte(nodeYAML), env)
	if err != nil {
		t.Fatal(err)
	}
	if n.Node != "weir-0" || n.Site == "local" || n.ClickHouse.URL.IsZero() {
		t.Errorf("node.yaml and the environment say %+v", n)
	}
	if dir := filepath.Dir(n.StateDir); !mounts(&c, dir) || mounts(&c, n.StateDir) {
		t.Errorf("state_dir %s is not below a volume: a damaged store is set aside beside it", n.StateDir)
	}
	if disk := size(t, s.VolumeClaimTemplates[0].Spec.Resources.Requests["storage"]); disk < 2*n.Limits.Disk+n.Limits.Disk/4 {
		t.Errorf("the volume has %d bytes, and limits.disk %d", disk, n.Limits.Disk)
	}
	// What a node takes beside window state and queue, in bench/README.md, with room for garbage.
	if memory := size(t, c.Resources.Limits["memory"]); memory < 3*(n.Limits.State+n.Limits.Queue)+128<<20 {
		t.Errorf("the limit is %d bytes of memory, limits.state %d and limits.queue %d", memory, n.Limits.State, n.Limits.Queue)
	}
	checkPipelines(t, all["ConfigMap weir-pipelines"].Data, n)

	// Ports and probes, of a server as a node has it.
	_, listen, err := net.SplitHostPort(n.Listen)
	if err != nil || len(c.Ports) != 1 || strconv.Itoa(c.Ports[0].ContainerPort) != listen || strings.HasPrefix(n.Listen, "127.") {
		t.Errorf("it listens on %s, and the container has %+v", n.Listen, c.Ports)
	}
	var svc service
	spec(t, all, "Service weir", &svc)
	if s.ServiceName != "weir" || svc.ClusterIP != "None" || strconv.Itoa(svc.Ports[0].Port) != listen || svc.Ports[0].TargetPort != c.Ports[0].Name || !svc.PublishNotReadyAddresses {
		t.Errorf("the service is %+v", svc)
	}
	checkProbes(t, c.Ports[0].Name, c.LivenessProbe, c.ReadinessProbe)
	if a := s.Template.Metadata.Annotations; a["prometheus.io/port"] != listen || a["prometheus.io/path"] != "/metrics" {
		t.Errorf("annotations are %v", a)
	}
	var net policy
	spec(t, all, "NetworkPolicy weir", &net)
	if got := ports(net.Ingress); !slices.Equal(got, []string{"TCP " + listen}) {
		t.Errorf("what comes in: %v", got)
	}
	for _, want := range []string{"UDP 53", "TCP 53", "TCP " + portOf(n.Kafka.Brokers[0]), "TCP 9000", "TCP 9440"} {
		if !slices.Contains(ports(net.Egress), want) {
			t.Errorf("what goes out lacks %s: %v", want, ports(net.Egress))
		}
	}

	// A stop takes as long as the unit of systemd allows for, and the last insert.
	stop, err := strconv.Atoi(strings.TrimSuffix(unit(t, read(t, "systemd/weir.service"))["Service.TimeoutStopSec"][0], "s"))
	if err != nil || p.TerminationGracePeriodSeconds < stop+15 {
		t.Errorf("a pod has %d s to stop, and the unit %d (%v)", p.TerminationGracePeriodSeconds, stop, err)
	}

	// Who it is, and what it may do.
	user := strconv.Itoa(p.SecurityContext.RunAsUser) + ":" + strconv.Itoa(p.SecurityContext.RunAsGroup)
	if !strings.Contains(read(t, "container/Containerfile"), "USER "+user+"\n") || p.SecurityContext.FSGroup != p.SecurityContext.RunAsGroup || !p.SecurityContext.RunAsNonRoot {
		t.Errorf("it runs as %s: %+v", user, p.SecurityContext)
	}
	if sc := c.SecurityContext; sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || !sc.ReadOnlyRootFilesystem ||
		!slices.Equal(sc.Capabilities["drop"], []string{"ALL"}) || p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken {
		t.Errorf("it may %+v", sc)
	}

	// Everything belongs together.
	var pdb disruptions
	spec(t, all, "PodDisruptionBudget weir", &pdb)
	for what, l := range map[string]map[string]string{
		"pods": s.Template.Metadata.Labels, "set": s.Selector.MatchLabels, "service": svc.Selector, "budget": pdb.Selector.MatchLabels, "policy": net.PodSelector.MatchLabels,
	} {
		if fmt.Sprint(l) != fmt.Sprint(labels) {
			t.Errorf("the labels of the %s are %v", what, l)
		}
	}
	for _, v := range p.Volumes {
		if all["ConfigMap "+v.ConfigMap.Name].Kind == "" {
			t.Errorf("volume %s is of a ConfigMap %q, which there is not", v.Name, v.ConfigMap.Name)
		}
	}
	for _, m := range c.VolumeMounts {
		if m.Name != s.VolumeClaimTemplates[0].Metadata.Name && !slices.ContainsFunc(p.Volumes, func(v volume) bool { return v.Name == m.Name }) {
			t.Errorf("%s is mounted from a volume %q, which there is not", m.MountPath, m.Name)
		}
	}
}

func mounts(c *container, path string) bool {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			return true
		}
	}
	return false
}

// checkPipelines validates the pipelines as the pod would.
func checkPipelines(t *testing.T, files map[string]string, n config.Node) {
	t.Helper()
	dir := t.TempDir()
	node := fmt.Sprintf("site: %s\nkafka: {brokers: [%q]}\n", n.Site, n.Kafka.Brokers[0])
	if err := os.WriteFile(filepath.Join(dir, "node.yaml"), []byte(node), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("WEIR_NODE", "weir-0")
		t.Setenv("WEIR_CLICKHOUSE", n.ClickHouse.URL.Reveal())
		var out bytes.Buffer
		if code := cli.Main(t.Context(), []string{"validate", "--config", filepath.Join(dir, "node.yaml"), file}, &out, &out); code != 0 {
			t.Errorf("%s: exit code %d\n%s", name, code, &out)
		}
		spec, err := config.Load(file)
		if err != nil || spec.Source.Kafka.InstanceID != "weir-0" {
			t.Errorf("%s: %v; a pod that comes back is not known by its name", name, err)
		}
	}
	if len(files) == 0 {
		t.Error("there is no pipeline")
	}
}

// checkProbes asks a server what the kubelet would.
func checkProbes(t *testing.T, name string, probes ...probe) {
	t.Helper()
	server, err := web.New("127.0.0.1:0", "test", nil, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for i, p := range probes {
		if want := []string{"/healthz", "/readyz"}[i]; p.HTTPGet.Path != want || p.HTTPGet.Port != name {
			t.Errorf("a probe asks %+v, should ask %s of port %s", p.HTTPGet, want, name)
		}
		resp, err := http.Get("http://" + server.Addr() + p.HTTPGet.Path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s", p.HTTPGet.Path, resp.Status)
		}
	}
}

func ports(rules []struct{ Ports []port }) []string {
	var all []string
	for _, r := range rules {
		for _, p := range r.Ports {
			all = append(all, fmt.Sprintf("%s %d", p.Protocol, p.Port))
		}
	}
	return all
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

var quantity = regexp.MustCompile(`^([0-9]+)(Mi|Gi)$`)

// size is a quantity of Kubernetes in bytes.
func size(t *testing.T, q string) int64 {
	t.Helper()
	m := quantity.FindStringSubmatch(q)
	if m == nil {
		t.Fatalf("%q is no quantity in Mi or Gi", q)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << map[string]int{"Mi": 20, "Gi": 30}[m[2]]
}

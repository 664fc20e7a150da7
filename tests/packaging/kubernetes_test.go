package packaging

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	admission "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// manifest is one file of deploy/kubernetes, each object by its kind; every kind stands in it once at most.
type manifest struct {
	config     corev1.ConfigMap
	deployment appsv1.Deployment
	service    corev1.Service
	budget     *policyv1.PodDisruptionBudget
	network    networkingv1.NetworkPolicy
}

// parse is strict: a key that Kubernetes does not know is an error, as is one that is there twice.
func parse(text string) (manifest, error) {
	var m manifest
	for _, document := range strings.Split(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			return m, err
		}
		into := map[string]any{"v1/ConfigMap": &m.config, "apps/v1/Deployment": &m.deployment, "v1/Service": &m.service,
			"networking.k8s.io/v1/NetworkPolicy": &m.network}[kind.APIVersion+"/"+kind.Kind]
		if kind.APIVersion+"/"+kind.Kind == "policy/v1/PodDisruptionBudget" {
			m.budget = &policyv1.PodDisruptionBudget{}
			into = m.budget
		}
		if into == nil {
			return m, fmt.Errorf("an object of unknown kind %s %s", kind.APIVersion, kind.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			return m, fmt.Errorf("%s: %w", kind.Kind, err)
		}
	}
	return m, nil
}

// gate is the container of the gateway, among the sidecars or the others.
func (m manifest) gate(t *testing.T) corev1.Container {
	t.Helper()
	pod := m.deployment.Spec.Template.Spec
	for _, container := range append(pod.InitContainers, pod.Containers...) {
		if container.Name == "tollgate" {
			return container
		}
	}
	t.Fatal("there is no container tollgate")
	return corev1.Container{}
}

func manifests(t *testing.T, each func(t *testing.T, text string, m manifest)) {
	t.Parallel()
	found := must(filepath.Glob(root + "/deploy/kubernetes/*.yaml"))
	if len(found) < 2 {
		t.Fatalf("only %v", found)
	}
	for _, file := range found {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text := read(t, file)
			m, err := parse(text)
			if err != nil {
				t.Fatal(err)
			}
			each(t, text, m)
		})
	}
}

func TestManifestsAreKubernetesAndStrict(t *testing.T) {
	manifests(t, func(t *testing.T, text string, m manifest) {
		for good, bad := range map[string]string{
			"readOnlyRootFilesystem": "readOnlyRootFilesytem",
			"defaultMode: 0440":      "defaultMode: rw",
			"apiVersion: apps/v1":    "apiVersion: apps/v1beta1",
		} {
			if _, err := parse(replace(t, text, good, bad)); err == nil {
				t.Errorf("%q passes", bad)
			}
		}
	})
}

// The strictest of Kubernetes' own Pod Security Standards, by its own code.
func TestManifestsMeetTheRestrictedStandard(t *testing.T) {
	manifests(t, func(t *testing.T, _ string, m manifest) {
		evaluator := must(policy.NewEvaluator(policy.DefaultChecks(), nil))
		restricted := admission.LevelVersion{Level: admission.LevelRestricted, Version: admission.LatestVersion()}
		judge := func(m manifest) policy.AggregateCheckResult {
			pod := m.deployment.Spec.Template
			return policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
		}
		if result := judge(m); !result.Allowed {
			t.Errorf("%s: %s", result.ForbiddenReason(), result.ForbiddenDetail())
		}
		m.deployment.Spec.Template.Spec.SecurityContext.SeccompProfile = nil
		if judge(m).Allowed {
			t.Error("a pod without a seccomp profile passes as well")
		}
	})
}

func TestManifestsFitTogether(t *testing.T) {
	manifests(t, func(t *testing.T, _ string, m manifest) {
		pod, gate := m.deployment.Spec.Template, m.gate(t)
		for name, selector := range map[string]*metav1.LabelSelector{
			"deployment":     m.deployment.Spec.Selector,
			"service":        {MatchLabels: m.service.Spec.Selector},
			"network policy": &m.network.Spec.PodSelector,
		} {
			if chosen, err := metav1.LabelSelectorAsSelector(selector); err != nil || chosen.Empty() || !chosen.Matches(labels.Set(pod.Labels)) {
				t.Errorf("the %s does not choose the pod: %v", name, err)
			}
		}
		if m.budget != nil && m.budget.Spec.MinAvailable.IntValue() >= int(*m.deployment.Spec.Replicas) {
			t.Error("the budget lets no pod ever go")
		}
		ports := map[string]bool{}
		for _, port := range gate.Ports {
			ports[port.Name] = strings.Contains(m.config.Data["tollgate.yaml"], fmt.Sprintf(":%d", port.ContainerPort))
		}
		named := []intstr.IntOrString{m.service.Spec.Ports[0].TargetPort, gate.ReadinessProbe.HTTPGet.Port, gate.LivenessProbe.HTTPGet.Port,
			gate.StartupProbe.HTTPGet.Port}
		for _, rule := range m.network.Spec.Ingress {
			named = append(named, *rule.Ports[0].Port)
			if rule.Ports[0].Port.StrVal == "admin" && len(rule.From) == 0 {
				t.Error("everybody may come to the admin port")
			}
		}
		for _, port := range named {
			if !ports[port.StrVal] {
				t.Errorf("port %v is not one on which the gateway listens", port)
			}
		}
		volumes := map[string]bool{}
		for _, volume := range pod.Spec.Volumes {
			volumes[volume.Name] = true
		}
		for _, mount := range gate.VolumeMounts {
			if !volumes[mount.Name] || !mount.ReadOnly {
				t.Errorf("volume %s is not there, or can be written", mount.Name)
			}
		}
	})
}

// preStop, then the drain, before the kubelet kills.
func TestManifestsLetADrainFinish(t *testing.T) {
	manifests(t, func(t *testing.T, _ string, m manifest) {
		gate, pod := m.gate(t), m.deployment.Spec.Template.Spec
		drain := must(time.ParseDuration(regexp.MustCompile(`(?m)^drain_timeout: (\S+)`).FindStringSubmatch(m.config.Data["tollgate.yaml"])[1]))
		stop := gate.Lifecycle.PreStop.Exec.Command
		pause := must(time.ParseDuration(stop[1] + "s"))
		if _, err := exec.LookPath(stop[0]); err != nil || pause < time.Second {
			t.Errorf("preStop is %v: %v", stop, err)
		}
		if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace < pause+drain+5*time.Second {
			t.Errorf("killed after %v, but preStop takes %v and a drain up to %v", grace, pause, drain)
		}
		if detection := time.Duration(gate.ReadinessProbe.PeriodSeconds*gate.ReadinessProbe.FailureThreshold) * time.Second; detection > pause {
			t.Errorf("found to be draining after %v, when no more than %v are waited", detection, pause)
		}
	})
}

// pod lays the volumes out as the kubelet does: a directory of the time, and links to it; the secret root's and fsGroup's.
func (m manifest) volumes(t *testing.T, content map[string]map[string]string) string {
	t.Helper()
	top := t.TempDir()
	reachable(t, top)
	group := int(*m.deployment.Spec.Template.Spec.SecurityContext.FSGroup)
	for _, volume := range m.deployment.Spec.Template.Spec.Volumes {
		directory, mode := top+"/"+volume.Name, os.FileMode(0o644)
		if volume.Secret != nil {
			mode = os.FileMode(*volume.Secret.DefaultMode)
		}
		for name, text := range content[volume.Name] {
			file := directory + "/..2026_11_28/" + name
			write(t, file, text, mode)
			if os.Getuid() == 0 {
				if err := os.Chown(file, 0, group); err != nil {
					t.Fatal(err)
				}
			}
			_ = os.Symlink("..2026_11_28", directory+"/..data")
			if err := os.Symlink("..data/"+name, directory+"/"+name); err != nil {
				t.Fatal(err)
			}
		}
	}
	return top
}

// The configuration of the config map, with the volumes as the kubelet mounts them and as the user of the pod: it is good,
// it serves, and answers the probes as they come, to the pod's address.
func TestTheManifestsGatewayServes(t *testing.T) {
	manifests(t, func(t *testing.T, _ string, m manifest) {
		gate, secure := m.gate(t), m.deployment.Spec.Template.Spec.SecurityContext
		material := pki(t)
		admin, edge := freeAddress(t), freeAddress(t)
		config := replace(t, m.config.Data["tollgate.yaml"], "0.0.0.0:9901", "0.0.0.0:"+port(admin), "0.0.0.0:8443", "0.0.0.0:"+port(edge))
		config = strings.ReplaceAll(config, "users.default.svc.cluster.local", "localhost")
		content := map[string]map[string]string{
			"config":      {"tollgate.yaml": config},
			"certificate": {"tls.crt": read(t, material+"/gateway.pem"), "tls.key": read(t, material+"/gateway.key")},
			"trust":       {"ca.pem": read(t, material+"/ca.pem")},
		}
		for _, mount := range gate.VolumeMounts {
			if strings.Contains(config, mount.MountPath) == (mount.Name == "config") {
				t.Errorf("the configuration does not use %s", mount.MountPath)
			}
			content["config"]["tollgate.yaml"] = strings.ReplaceAll(content["config"]["tollgate.yaml"], mount.MountPath, "@"+mount.Name)
		}
		top := m.volumes(t, map[string]map[string]string{"certificate": content["certificate"], "trust": content["trust"]})
		final := content["config"]["tollgate.yaml"]
		for _, mount := range gate.VolumeMounts {
			final = strings.ReplaceAll(final, "@"+mount.Name, top+"/"+mount.Name)
		}
		write(t, top+"/config/tollgate.yaml", final, 0o644)
		write(t, top+"/tollgate", read(t, root+"/build/tollgate"), 0o755)
		as := func(verb string) *exec.Cmd {
			c := command(top, top+"/tollgate", verb, "--config", top+"/config/tollgate.yaml")
			if os.Getuid() == 0 {
				c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(*secure.RunAsUser), Gid: uint32(*secure.RunAsGroup),
					Groups: []uint32{uint32(*secure.FSGroup)}}}
			}
			return c
		}
		if out, err := as("check").CombinedOutput(); err != nil || bytes.Contains(out, []byte("warn")) {
			t.Fatalf("check: %v\n%s", err, out)
		}
		g := serve(t, admin, as("run"))
		for _, probe := range []*corev1.Probe{gate.StartupProbe, gate.ReadinessProbe, gate.LivenessProbe} {
			if code := status(admin, "10.1.2.3:9901", probe.HTTPGet.Path); code != http.StatusOK {
				t.Errorf("the probe of %s, to the pod's address: %d", probe.HTTPGet.Path, code)
			}
		}
		if code := ask(t, material, "web", edge, "/nowhere"); code != "404" {
			t.Errorf("a request over TLS: %s", code)
		}
		g.drain(t, g.process.Process.Pid)
	})
}

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A real Prometheus scrapes the real gateway; the alert rules and the dashboard of deploy/ are held against what it saw.

const deploy = "../../deploy"

type prometheus struct{ address string }

// startPrometheus scrapes the gateway five times a second, with the alert rules loaded.
func startPrometheus(t *testing.T, g *gateway) *prometheus {
	t.Helper()
	dir, p := t.TempDir(), &prometheus{freeAddress(t)}
	writeFile(t, dir, "prometheus.yml", fmt.Appendf(nil, `
global: {scrape_interval: 200ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs: [{job_name: tollgate, static_configs: [{targets: [%q]}]}]
`, must(filepath.Abs(deploy+"/prometheus/rules.yaml")), g.admin))
	output := &lockedBuffer{}
	command := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.address, "--log.level=warn")
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("prometheus said:\n%s", output)
		}
	})
	waitFor(t, "prometheus to be ready", patience, func() bool {
		answer, err := http.Get("http://" + p.address + "/-/ready")
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil && answer.StatusCode == http.StatusOK
	})
	return p
}

func (p *prometheus) api(path string, found any) error {
	answer, err := http.Get("http://" + p.address + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	var whole struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(answer.Body).Decode(&whole); err != nil {
		return err
	}
	if whole.Status != "success" {
		return fmt.Errorf("%s: %s", whole.Status, whole.Error)
	}
	return json.Unmarshal(whole.Data, found)
}

// query returns the values of an expression by their labels, written as Prometheus does.
func (p *prometheus) query(expression string) (map[string]float64, error) {
	var found struct {
		ResultType string
		Result     []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := p.api("query?query="+url.QueryEscape(expression), &found); err != nil {
		return nil, fmt.Errorf("%s: %w", expression, err)
	}
	values := map[string]float64{}
	for _, one := range found.Result {
		var labels []string
		for name, value := range one.Metric {
			labels = append(labels, name+"="+value)
		}
		slices.Sort(labels)
		values[strings.Join(labels, ",")] = must(strconv.ParseFloat(one.Value[1].(string), 64))
	}
	return values, nil
}

// expressions are all of the dashboard, by the title of their panel.
func dashboardExpressions(t *testing.T) map[string]string {
	t.Helper()
	type target struct{ Expr string }
	var board struct {
		UID, Title  string
		Annotations struct{ List []target }
		Panels      []struct {
			Title, Type string
			Targets     []target
		}
	}
	if err := json.Unmarshal(must(os.ReadFile(deploy+"/grafana/tollgate.json")), &board); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for i, one := range board.Annotations.List {
		found[fmt.Sprint("annotation ", i)] = one.Expr
	}
	for _, panel := range board.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", panel.Title)
		}
		for i, one := range panel.Targets {
			found[fmt.Sprint(panel.Title, " ", i)] = one.Expr
		}
	}
	if len(found) < 30 || board.UID != "tollgate" {
		t.Fatalf("only %d expressions in the dashboard", len(found))
	}
	return found
}

var ruleExpression = regexp.MustCompile(`(?m)^ +expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)`)

func ruleExpressions(t *testing.T) (found []string) {
	t.Helper()
	for _, match := range ruleExpression.FindAllStringSubmatch(string(must(os.ReadFile(deploy+"/prometheus/rules.yaml"))), -1) {
		found = append(found, match[1]+match[2])
	}
	if len(found) < 15 {
		t.Fatalf("only %d rules", len(found))
	}
	return found
}

func TestPrometheusScrapesTheGateway(t *testing.T) {
	t.Parallel()
	g, traffic := busy(t)
	p := startPrometheus(t, g)
	// Prometheus rates nothing that it has not seen twice, so traffic goes on until it has.
	wait := func(t *testing.T, expression string, want func(map[string]float64) bool) {
		t.Helper()
		var last map[string]float64
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) {
			var err error
			if last, err = p.query(expression); err != nil {
				t.Fatal(err)
			}
			if want(last) {
				return
			}
			traffic()
		}
		t.Errorf("%s stays %v", expression, last)
	}
	job := "instance=" + g.admin + ",job=tollgate"
	wait(t, `up{job="tollgate"}`, func(got map[string]float64) bool { return got["__name__=up,"+job] == 1 })
	for expression, series := range map[string]string{
		`sum by (code) (rate(tollgate_requests_total{protocol="http1",route="/web/*"}[10s]))`:        "code=200",
		`sum by (code) (rate(tollgate_requests_total{protocol="grpc"}[10s]))`:                        "code=8",
		`sum by (reason) (rate(tollgate_rejections_total{listener="edge"}[10s]))`:                    "reason=certificate_untrusted",
		`sum by (decision) (rate(tollgate_rate_limit_decisions_total[10s]))`:                         "decision=refused",
		`sum by (result) (rate(tollgate_tls_handshakes_total[10s]))`:                                 "result=tls_failed",
		`sum by (code) (rate(tollgate_upstream_requests_total{backend="dead"}[10s]))`:                "code=connect_failed",
		`sum by (backend) (rate(tollgate_upstream_duration_seconds_count[10s]))`:                     "backend=users",
		`sum by (listener) (tollgate_connections_active)`:                                            "listener=edge",
		`rate(tollgate_audit_records_total[10s])`:                                                    job,
		`tollgate_config_last_reload_success`:                                                        "__name__=tollgate_config_last_reload_success," + job,
		`count by (job) (tollgate_build_info)`:                                                       "job=tollgate",
		`rate(process_cpu_seconds_total{job="tollgate"}[30s])`:                                       job,
		`histogram_quantile(0.5, sum by (le) (rate(tollgate_request_duration_seconds_bucket[10s])))`: "",
	} {
		wait(t, expression, func(got map[string]float64) bool { return got[series] > 0 })
	}
	wait(t, `histogram_quantile(0.99, sum by (le, route) (rate(tollgate_request_duration_seconds_bucket[10s])))`,
		func(got map[string]float64) bool { value := got["route=/web/*"]; return value > 0 && value < 10 })
	// The gateway's certificate of the tests lives a day.
	wait(t, `min(tollgate_certificate_expiry_timestamp_seconds{role="certificate"} - time())`,
		func(got map[string]float64) bool { return got[""] > 20*3600 && got[""] <= 24*3600 })
	wait(t, `min(tollgate_crl_next_update_timestamp_seconds - time())`,
		func(got map[string]float64) bool { return got[""] > 0 && got[""] <= 3600 })

	scraped := map[string]bool{}
	var names []string
	if err := p.api("label/__name__/values", &names); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		scraped[name] = true
	}
	t.Run("dashboard", func(t *testing.T) {
		for title, expression := range dashboardExpressions(t) {
			allScraped(t, title, expression, scraped)
			expression = strings.NewReplacer("$instance", ".*", "$__rate_interval", "10s").Replace(expression)
			wait(t, expression, func(got map[string]float64) bool {
				return len(got) > 0 || strings.HasPrefix(title, "annotation") // of what happened in the last minute
			})
		}
	})
	t.Run("rules", func(t *testing.T) {
		for _, expression := range ruleExpressions(t) {
			allScraped(t, "a rule", expression, scraped)
		}
		p.rulesAreWell(t)
	})
}

// allScraped sees that every metric an expression asks for exists: what was renamed is found here.
func allScraped(t *testing.T, where, expression string, scraped map[string]bool) {
	t.Helper()
	for _, name := range regexp.MustCompile(`\b(tollgate|process)_\w+`).FindAllString(expression, -1) {
		if !scraped[name] {
			t.Errorf("%s: no gateway has %s", where, name)
		}
	}
}

// rulesAreWell waits until Prometheus has evaluated each rule, without an error, and quiet where all is well.
func (p *prometheus) rulesAreWell(t *testing.T) {
	t.Helper()
	type rule struct{ Name, Health, LastError, State string }
	var found struct{ Groups []struct{ Rules []rule } }
	waitFor(t, "all rules to be evaluated", patience, func() bool {
		if err := p.api("rules", &found); err != nil {
			t.Fatal(err)
		}
		return len(found.Groups) == 1 && !slices.ContainsFunc(found.Groups[0].Rules, func(r rule) bool { return r.Health == "unknown" })
	})
	for _, r := range found.Groups[0].Rules {
		if r.Health != "ok" || r.State == "firing" {
			t.Errorf("%s is %s and %s: %s", r.Name, r.Health, r.State, r.LastError)
		}
	}
}

func TestAlertRulesHold(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{{"check", "rules", "rules.yaml"}, {"check", "config", "scrape.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		command := exec.Command("promtool", words...)
		command.Dir = deploy + "/prometheus"
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", words, err, output)
		}
	}
	tests := string(must(os.ReadFile(deploy + "/prometheus/rules_test.yaml")))
	for _, match := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(must(os.ReadFile(deploy+"/prometheus/rules.yaml"))), -1) {
		if name := regexp.QuoteMeta(match[1]); !regexp.MustCompile(`alertname: `+name+`\n +exp_alerts:\n +- exp_labels`).MatchString(tests) ||
			!regexp.MustCompile(`alertname: `+name+`, exp_alerts: \[\]`).MatchString(tests) {
			t.Errorf("%s is not shown to fire and to keep quiet", match[1])
		}
	}
}

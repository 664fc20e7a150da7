package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Keys and passwords: who may read the file, what stays in memory, what is ever said.

var keyModes = []struct {
	mode  os.FileMode // of the key
	above os.FileMode // of the directory it lies in
	good  bool
	says  string
}{
	{0o600, 0o755, true, ""},
	{0o400, 0o755, true, ""},
	{0o640, 0o755, true, ""}, // its group is the process's own
	{0o644, 0o755, false, "has the mode 0644: other users may read it; expected a mode of 0600 (chmod 600)"},
	{0o604, 0o755, false, "has the mode 0604: other users may read it"},
	{0o620, 0o755, false, "has the mode 0620: other users may write it"},
	{0o666, 0o755, false, "has the mode 0666: other users may write it"},
	{0o644, 0o700, true, "a private key is kept by its directory alone; chmod 600 is better"},
	{0o664, 0o700, false, "has the mode 0664: other users may write it"},
}

// laid writes a configuration whose key lies in keys/, and opens the way there.
func laid(t *testing.T) (dir string, s setup) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, setup{routes: []string{marked("path: /*", "ok")}, served: []servedPair{{"keys/gateway",
		pemCertificates(common().gateway.Certificate...), pemKey(common().gateway.PrivateKey)}}}
}

func protect(t *testing.T, dir string, key, above os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(dir, "keys/gateway.key"), key); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "keys"), above); err != nil {
		t.Fatal(err)
	}
}

func TestCheckAndRunRefuseAKeyThatOthersMayRead(t *testing.T) {
	t.Parallel()
	for _, row := range keyModes {
		t.Run(fmt.Sprintf("%04o in %04o", row.mode, row.above), func(t *testing.T) {
			t.Parallel()
			dir, s := laid(t)
			config := s.write(t, dir, freeAddress(t), freeAddress(t))
			protect(t, dir, row.mode, row.above)
			output, code := tollgate(t, "check", "--config", config)
			if good := code == 0; good != row.good || !strings.Contains(output, row.says) {
				t.Errorf("check: exit %d: %s", code, output)
			}
			if row.good { // it would serve
				return
			}
			if output, code := tollgate(t, "run", "--config", config); code != 2 || !strings.Contains(output, row.says) ||
				!strings.Contains(output, "certificates[0].private_key: "+filepath.Join(dir, "keys/gateway.key")) {
				t.Errorf("run: exit %d: %s", code, output)
			}
		})
	}
}

func TestReloadRefusesAKeyThatOthersMayRead(t *testing.T) {
	t.Parallel()
	_, s := laid(t)
	g := prepared(t, s, nil)
	for _, row := range keyModes {
		protect(t, g.dir, row.mode, row.above)
		status, text := g.post(t, "/reload")
		if good := status == http.StatusOK; good != row.good || !good && !strings.Contains(text, row.says) {
			t.Errorf("%04o in %04o: POST /reload: %d %s", row.mode, row.above, status, text)
		}
		waitFor(t, "the log to say so too", patience, func() bool { return g.said(row.says) })
		wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK) // the old one, if not the new
	}
}

func TestThePKIsKeysAreSecretWhateverTheUmask(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "022", "077", "777"} {
		dir := filepath.Join(t.TempDir(), "pki")
		if output, err := exec.Command("sh", "-c", "umask "+umask+"; mkdir -m 755 $1; exec $0 pki $1", binary(), dir).CombinedOutput(); err != nil {
			t.Fatalf("umask %s: %v: %s", umask, err, output)
		}
		keys := must(filepath.Glob(filepath.Join(dir, "*.key")))
		if len(keys) < 8 {
			t.Fatalf("only %d keys", len(keys))
		}
		for _, key := range keys {
			if mode := must(os.Stat(key)).Mode(); mode != 0o600 {
				t.Errorf("umask %s: %s is %v", umask, filepath.Base(key), mode)
			}
		}
	}
}

// pieces returns parts of a key's text: whoever holds a few lines of it holds one of them. The
// beginning says only what kind of key it is, or what the certificate says too.
func pieces(key []byte) (all [][]byte) {
	block, _ := pem.Decode(key)
	body := base64.StdEncoding.EncodeToString(block.Bytes)
	for at := 80; at+16 <= len(body); at += 64 {
		if at < len(body)/2 && len(body) > 1000 {
			continue
		}
		line := body[at/64*64 : min(len(body), at/64*64+64)]
		for i := 0; i+16 <= len(line); i += 16 {
			all = append(all, []byte(line[i:i+16]))
		}
	}
	return all
}

// inMemory counts how often each text stands in the memory of the process.
func (g *gateway) inMemory(t *testing.T, texts [][]byte) (count int) {
	t.Helper()
	memory := must(os.Open(fmt.Sprintf("/proc/%d/mem", g.pid())))
	defer func() { _ = memory.Close() }()
	looked := 0
	for line := range strings.Lines(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/maps", g.pid()))))) {
		fields := strings.Fields(line)
		from, to, _ := strings.Cut(fields[0], "-")
		if !strings.HasPrefix(fields[1], "rw") { // where a program writes
			continue
		}
		start, end := must(strconv.ParseInt(from, 16, 64)), must(strconv.ParseInt(to, 16, 64))
		content := make([]byte, end-start)
		if _, err := memory.ReadAt(content, start); err != nil {
			continue // a guard page
		}
		looked += len(content)
		for _, text := range texts {
			count += bytes.Count(content, text)
		}
	}
	if looked < 100<<10 {
		t.Fatalf("only %d bytes of its memory could be read", looked)
	}
	return count
}

const markedPassword = "marked-password-of-the-store"

func TestNoTextOfAKeyStaysInMemory(t *testing.T) {
	t.Parallel()
	if instrumented() {
		t.Skip("a sanitizer keeps what was freed")
	}
	ec, rsa := common().gateway, common().rsaRoot.issue(withKey(rsa2048()))
	long := bytes.Repeat([]byte("# a comment of the certificate manager\n"), 5000) // makes every buffer grow
	both := append(pemCertificates(rsa.Certificate...), pemKey(rsa.PrivateKey)...)
	g := answering(t, setup{served: []servedPair{
		{"gateway", pemCertificates(ec.Certificate...), pemKey(ec.PrivateKey)},
		{"long", pemCertificates(ec.Certificate...), append(pemKey(ec.PrivateKey), long...)},
		{"both", both, both},
	}, top: []string{"redis: {address: 127.0.0.1:6379, password: " + markedPassword + "}"}})
	texts := append(pieces(pemKey(ec.PrivateKey)), pieces(pemKey(rsa.PrivateKey))...)
	if len(texts) < 40 {
		t.Fatalf("only %d pieces", len(texts))
	}
	look := func(when string) {
		t.Helper()
		if n := g.inMemory(t, texts); n > 0 {
			t.Errorf("%s: %d pieces of private keys are in memory", when, n)
		}
		waitFor(t, "the password to be there once, in the configuration in force", patience, func() bool {
			return g.inMemory(t, [][]byte{[]byte(markedPassword)}) == 1
		})
	}
	look("at the start")
	for range 3 {
		g.reload(t)
	}
	writeFile(t, g.dir, "long.pem", []byte("none\n"))
	if status, _ := g.post(t, "/reload"); status != http.StatusConflict { // an error's way out wipes too
		t.Errorf("a broken certificate is taken: %d", status)
	}
	writeFile(t, g.dir, "long.pem", pemCertificates(ec.Certificate...))
	g.reload(t)
	wantStatus(t, g.client(t, "h1", common().web).get("/x"), http.StatusOK)
	look("after reloads")
}

const markedKeyText = "TUFSS0VEIEtFWSBURVhUIE5FVkVSIFRPIEJFIFNFRU4h"

const markedKey = "-----BEGIN PRIVATE KEY-----\n" + markedKeyText + "\n-----END PRIVATE KEY-----\n"

// brokenSecrets are lines of a configuration that go wrong around a secret.
var brokenSecrets = []string{
	`redis: {address: nowhere, password: "` + markedPassword + `"}`,
	`redis: {address: 127.0.0.1:6379, password: "` + markedPassword + `\n"}`,
	`redis: {address: 127.0.0.1:6379, password: [` + markedPassword + `]}`,
	`redis: {address: 127.0.0.1:6379, password: {is: ` + markedPassword + `}}`,
	`redis: {address: 127.0.0.1:6379, password: "` + strings.Repeat(markedPassword, 50) + `"}`,
	`redis: {address: 127.0.0.1:6379, pasword: ` + markedPassword + `}`,
	`redis: {address: 127.0.0.1:6379, password: ` + markedPassword + `, password: ` + markedPassword + `}`,
	`redis: {address: 127.0.0.1:6379, password: ` + markedPassword,
	"redis:\n\taddress: 127.0.0.1:6379\n\tpassword: " + markedPassword,
	"access_log:\n  path: |\n    " + strings.ReplaceAll(strings.TrimSpace(markedKey), "\n", "\n    "),
	"access_log:\n  path: " + strings.ReplaceAll(strings.TrimSpace(markedKey), "\n", "\n    ") + "\u0007",
}

func wantNoSecret(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range []string{markedPassword, markedKeyText, markedKeyText[:12], markedKeyText[20:]} {
		if strings.Contains(text, secret) {
			t.Errorf("%s says %q:\n%s", where, secret, text)
		}
	}
}

func TestNoProblemSaysASecret(t *testing.T) {
	t.Parallel()
	for _, line := range brokenSecrets {
		s := setup{top: []string{line}, routes: []string{marked("path: /*", "ok")}}
		output, code := tollgate(t, "check", "--config", s.write(t, t.TempDir(), "127.0.0.1:1", "127.0.0.1:2"))
		if code != 2 {
			t.Errorf("%s: exit %d: %s", line, code, output)
		}
		wantNoSecret(t, "check of "+line, output)
	}
	for _, name := range []string{"private_key", "certificate_chain"} { // a key where its file was expected
		text := strings.Replace(goodConfig, name+": gateway.", name+": |\n            "+
			strings.ReplaceAll(strings.TrimSpace(markedKey), "\n", "\n            ")+"\n#", 1)
		_, output, code := check(t, text)
		if code != 2 || !strings.Contains(output, name) {
			t.Errorf("%s: exit %d: %s", name, code, output)
		}
		wantNoSecret(t, "check", output)
	}
}

func TestNothingEverSaysASecret(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{top: []string{"access_log: {path: access.jsonl}",
		"redis: {address: 127.0.0.1:6379, password: " + markedPassword + "}"}})
	text := strings.Replace(string(must(os.ReadFile(g.config))), g.setup.top[1]+"\n", "", 1)
	text = strings.Replace(text, g.setup.top[0]+"\n", "", 1)
	tell := func() {
		t.Helper()
		for _, path := range []string{"/config", "/certificates", "/limits", "/metrics", "/", "/readyz", "/none"} {
			_, body := g.adminGet(path)
			wantNoSecret(t, path, body)
		}
	}
	_, dump := g.adminGet("/config")
	if !strings.Contains(dump, "<redacted>") {
		t.Errorf("/config has no word of the password:\n%s", dump)
	}
	tell()
	for _, broken := range append([]string{""}, brokenSecrets...) { // each reload fails in its own way
		writeFile(t, g.dir, "gateway.key", []byte(markedKey))
		writeFile(t, g.dir, "tollgate.yaml", []byte(strings.Replace(text, "workers: 2\n", "workers: 2\n"+broken+"\n", 1)))
		status, said := g.post(t, "/reload")
		if status != http.StatusConflict {
			t.Errorf("%s: %d %s", broken, status, said)
		}
		wantNoSecret(t, "POST /reload", said)
		g.signal(syscall.SIGHUP)
	}
	_ = g.client(t, "h1", nil).get("/x")
	_ = g.client(t, "h2", common().web).get("/x")
	tell()
	g.stop()
	for _, path := range must(filepath.Glob(filepath.Join(g.dir, "*.jsonl"))) {
		wantNoSecret(t, path, string(must(os.ReadFile(path))))
	}
	wantNoSecret(t, "the log", g.stderr.String())
}

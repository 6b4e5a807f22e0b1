package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"proxyproof/harness/scenario"
)

func TestMessagesComeBack(t *testing.T) {
	var stream bytes.Buffer
	c := New(&stream)
	job := Job{ID: "a/ipv6@reference", Family: "ipv6", Seed: 7, Scenario: &scenario.Scenario{
		Name: "a", World: scenario.World{Nodes: []scenario.Node{{Name: "cp", APIServer: true}}}, Steps: []scenario.Step{{Apply: "kind: Service", Line: 9}},
	}}
	if err := c.Send(TypeRun, job); err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("x", 2*chunk+5)
	if err := c.SendFile(hashOf(content), int64(len(content)), strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	kind, payload, err := c.Receive()
	if err != nil || kind != TypeRun {
		t.Fatalf("got %c, %v", kind, err)
	}
	back, err := Decode[Job](payload)
	if err != nil || back.ID != job.ID || back.Seed != 7 || back.Scenario.Steps[0].Line != 9 || !back.Scenario.World.Nodes[0].APIServer {
		t.Errorf("got %+v, %v", back, err)
	}
	if kind, _, err = c.Receive(); err != nil || kind != TypePut {
		t.Fatalf("got %c, %v", kind, err)
	}
	got := 0
	for range 3 {
		kind, payload, err = c.Receive()
		if err != nil || kind != TypeChunk {
			t.Fatalf("got %c, %v", kind, err)
		}
		got += len(payload)
	}
	if got != len(content) {
		t.Errorf("%d bytes of %d arrived", got, len(content))
	}
	if _, _, err := c.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func hashOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// TestFileThatChangesIsTakenBack: the receiver never has all bytes of a file that is not what was announced.
func TestFileThatChangesIsTakenBack(t *testing.T) {
	announced := strings.Repeat("x", chunk+5)
	for name, read := range map[string]string{
		"rebuilt": strings.Repeat("y", chunk+5),
		"shorter": "x",
	} {
		var stream bytes.Buffer
		c := New(&stream)
		if err := c.SendFile(hashOf(announced), int64(len(announced)), strings.NewReader(read)); err == nil {
			t.Errorf("%s: no error", name)
		}
		arrived, last := 0, Type(0)
		for {
			kind, payload, err := c.Receive()
			if err != nil {
				break
			}
			if last = kind; kind == TypeChunk {
				arrived += len(payload)
			}
		}
		if arrived >= len(announced) || last != TypeDrop {
			t.Errorf("%s: %d bytes of %d arrived, the last message is %c", name, arrived, len(announced), last)
		}
	}
}

func TestReceiveRefusesNonsense(t *testing.T) {
	for name, bytesIn := range map[string][]byte{
		"no length":  {0, 0, 0, 0, 'e'},
		"too long":   {0xff, 0, 0, 0, 'e'},
		"cut in two": {0, 0, 0, 9, 'e', '{'},
	} {
		if _, _, err := New(bytes.NewBuffer(bytesIn)).Receive(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

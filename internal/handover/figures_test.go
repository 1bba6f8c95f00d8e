// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFigures: nodes of the cell tell each other, nobody else, and one of an older version is
// told from one that cannot answer.
func TestFigures(t *testing.T) {
	t.Parallel()
	ids := identities(t)
	type figures struct {
		Run  string
		Next uint64
	}
	var none any
	for name, tc := range map[string]struct {
		tells func(string, uint64) any
		want  string
	}{
		"all":     {func(run string, next uint64) any { return figures{run, next} }, ""},
		"not yet": {func(string, uint64) any { return none }, "503"},
		"nothing": {nil, "503"},
		"no JSON": {func(string, uint64) any { return "text" }, "cannot be read"},
		"endless": {func(string, uint64) any { return figures{Run: strings.Repeat("x", figuresMost)} }, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			server := linkOf(ids, "a", map[string]string{"b": "", "c": ""})
			server.o.Figures = tc.tells
			s, err := server.Serve(t.Context(), "127.0.0.1:0", t.TempDir()+"/out", nil, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			b := linkOf(ids, "b", map[string]string{"a": s.Address()})
			t.Cleanup(func() {
				b.Close()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			var got figures
			err = b.Figures(t.Context(), "a", "a run & more", 7, &got)
			switch {
			case tc.want == "" && (err != nil || got != figures{"a run & more", 7}):
				t.Errorf("%+v, %v", got, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
	older := httptest.NewUnstartedServer(http.NotFoundHandler())
	older.TLS = ids["a"].Serving()
	older.StartTLS()
	t.Cleanup(older.Close)
	b := linkOf(ids, "b", map[string]string{"a": older.Listener.Addr().String()})
	t.Cleanup(b.Close)
	if err := b.Figures(t.Context(), "a", "", 0, io.Discard); !errors.Is(err, ErrOlder) {
		t.Errorf("a node of an older version: %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads a TOML file over the defaults, as Parse does. It does not validate:
// flags may still change what is wrong.
func Load(path string) (Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Default(), fmt.Errorf("configuration: %w", err)
	}
	if info.Size() > maxFile {
		return Default(), fmt.Errorf("configuration: %s has %d bytes: that is no configuration file", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Default(), fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse reads TOML over the defaults; name stands in errors as the file. It
// gives every mistake at once, in the order of the file, and with them what
// could be read. An unknown key is one, and names the nearest known key.
func Parse(name string, text []byte) (Config, error) {
	c := Default()
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		return c, syntaxError(name, err)
	}
	r := reader{name: name, lines: lines(text)}
	r.table(reflect.ValueOf(&c).Elem(), tree, "")
	slices.SortStableFunc(r.mistakes, func(a, b mistake) int { return cmp.Compare(a.line, b.line) })
	all := make([]error, len(r.mistakes))
	for i, m := range r.mistakes {
		all[i] = fmt.Errorf("%s:%d: %s", name, m.line, m.text)
	}
	return c, errors.Join(all...)
}

func syntaxError(name string, err error) error {
	var decode *toml.DecodeError
	if !errors.As(err, &decode) {
		return fmt.Errorf("%s: %w", name, err)
	}
	line, _ := decode.Position()
	return fmt.Errorf("%s:%d: %s", name, line, strings.TrimPrefix(decode.Error(), "toml: "))
}

// lines gives the line of each key, dotted, and of each table.
func lines(text []byte) map[string]int {
	all := map[string]int{}
	var p unstable.Parser
	p.Reset(text)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		key, line := dotted(&p, e)
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = key + "."
		case unstable.KeyValue:
			key = table + key
			inline(&p, e.Value(), key+".", all)
		default:
			continue
		}
		if _, seen := all[key]; !seen {
			all[key] = line
		}
	}
	return all
}

// inline gives the lines of the keys of an inline table.
func inline(p *unstable.Parser, value *unstable.Node, prefix string, all map[string]int) {
	if value.Kind != unstable.InlineTable {
		return
	}
	for it := value.Children(); it.Next(); {
		key, line := dotted(p, it.Node())
		all[prefix+key] = line
		inline(p, it.Node().Value(), prefix+key+".", all)
	}
}

func dotted(p *unstable.Parser, e *unstable.Node) (key string, line int) {
	if e.Kind != unstable.KeyValue && e.Kind != unstable.Table && e.Kind != unstable.ArrayTable {
		return "", 0
	}
	var parts []string
	for it := e.Key(); it.Next(); {
		n := it.Node()
		if line == 0 {
			line = p.Shape(n.Raw).Start.Line
		}
		parts = append(parts, string(n.Data))
	}
	return strings.Join(parts, "."), line
}

// reader fills a Config with what a file says and notes what is wrong.
type reader struct {
	name     string
	lines    map[string]int
	mistakes []mistake
}

type mistake struct {
	line int
	text string
}

func (r *reader) wrong(key, format string, args ...any) {
	line := r.lines[key]
	for k := key; line == 0 && strings.Contains(k, "."); line = r.lines[k] {
		k = k[:strings.LastIndexByte(k, '.')]
	}
	r.mistakes = append(r.mistakes, mistake{max(line, 1), fmt.Sprintf(format, args...)})
}

// table reads the keys of a table into a struct.
func (r *reader) table(to reflect.Value, tree map[string]any, prefix string) {
	known := map[string]int{}
	for i := range to.NumField() {
		known[to.Type().Field(i).Tag.Get("toml")] = i
	}
	for name, value := range tree {
		key := prefix + name
		if i, ok := known[name]; ok {
			r.value(to.Field(i), value, key)
			continue
		}
		what, of := "key", Keys()
		if _, ok := value.(map[string]any); ok {
			what, of = "table", tables()
		}
		hint := "`bavard config` prints every key"
		if near := Nearest(key, of); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		r.wrong(key, "unknown %s %q: %s", what, key, hint)
	}
}

// value reads one value. What it was is not told: it may be a secret.
func (r *reader) value(to reflect.Value, value any, key string) {
	if d, ok := to.Addr().Interface().(*Duration); ok {
		text, ok := value.(string)
		if !ok {
			r.expected(key, value, `a time in quotes, like "10s" or "5m"`)
		} else if err := d.UnmarshalText([]byte(text)); err != nil {
			r.wrong(key, "%s: %v", key, err)
		}
		return
	}
	switch to.Kind() {
	case reflect.Struct:
		if tree, ok := value.(map[string]any); ok {
			r.table(to, tree, key+".")
			return
		}
		r.expected(key, value, "a table: write ["+key+"], and its keys under it")
	case reflect.String:
		if text, ok := value.(string); ok {
			to.SetString(text)
			return
		}
		r.expected(key, value, fmt.Sprintf("a text in quotes, like %q", to.String()))
	case reflect.Bool:
		if on, ok := value.(bool); ok {
			to.SetBool(on)
			return
		}
		r.expected(key, value, "true or false, without quotes")
	case reflect.Int:
		if n, ok := value.(int64); ok {
			to.SetInt(n)
			return
		}
		r.expected(key, value, fmt.Sprintf("a whole number without quotes, like %d", to.Int()))
	case reflect.Slice:
		if texts, ok := texts(value); ok {
			to.Set(reflect.ValueOf(texts))
			return
		}
		r.expected(key, value, `a list of texts, like ["one", "two"]`)
	default: // a test holds that there is none
		r.wrong(key, "%s cannot be set in a file", key)
	}
}

func (r *reader) expected(key string, value any, what string) {
	is := "something else"
	switch value.(type) {
	case string:
		is = "a text"
	case bool:
		is = "true or false"
	case int64:
		is = "a number"
	case float64:
		is = "a number with a fraction"
	case []any:
		is = "a list"
	case map[string]any:
		is = "a table"
	}
	r.wrong(key, "%s is %s, and has to be %s", key, is, what)
}

func texts(value any) ([]string, bool) {
	list, ok := value.([]any)
	all := make([]string, len(list))
	for i, v := range list {
		text, isText := v.(string)
		all[i], ok = text, ok && isText
	}
	return all, ok
}

// tables gives the names of all tables.
func tables() []string {
	var all []string
	for _, key := range Keys() {
		if i := strings.LastIndexByte(key, '.'); i >= 0 && !slices.Contains(all, key[:i]) {
			all = append(all, key[:i])
		}
	}
	return all
}

// Keys gives every key, dotted, in the order of the struct.
func Keys() []string { return keys(reflect.TypeFor[Config](), "") }

func keys(t reflect.Type, prefix string) []string {
	var all []string
	for f := range fields(t) {
		key := prefix + f.Tag.Get("toml")
		if f.Type.Kind() == reflect.Struct {
			all = append(all, keys(f.Type, key+".")...)
			continue
		}
		all = append(all, key)
	}
	return all
}

func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// Nearest gives the known key with the least edit distance to key, whole or
// without its table, if that is at most a third of its length; "" if none is.
func Nearest(key string, known []string) string {
	best, bestDistance := "", 1+max(2, len(key)/3)
	for _, k := range known {
		d := distance(key, k)
		if last := k[strings.LastIndexByte(k, '.')+1:]; last == key[strings.LastIndexByte(key, '.')+1:] {
			d = min(d, 1) // the right key in the wrong table
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

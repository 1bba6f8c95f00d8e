// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads a TOML file over the defaults. It does not validate: flags may
// still change what is wrong.
func Load(path string) (Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	if info.Size() > maxFile {
		return Config{}, fmt.Errorf("configuration: %s has %d bytes: that is no configuration file", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse reads TOML over the defaults; name stands in errors as the file. An
// unknown key is an error that names the nearest known one.
func Parse(name string, text []byte) (Config, error) {
	c := Default()
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&c)
	if err == nil {
		return c, nil
	}
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) {
		var all []error
		for i := range missing.Errors {
			all = append(all, unknownKey(name, &missing.Errors[i]))
		}
		return Config{}, errors.Join(all...)
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		line, _ := decode.Position()
		text := strings.TrimPrefix(decode.Error(), "toml: ")
		if key := strings.Join(decode.Key(), "."); key != "" {
			text = key + ": " + text
		}
		return Config{}, fmt.Errorf("%s:%d: %s", name, line, text)
	}
	return Config{}, fmt.Errorf("%s: %w", name, err)
}

func unknownKey(name string, e *toml.DecodeError) error {
	line, _ := e.Position()
	key := strings.Join(e.Key(), ".")
	hint := "`bavard config` prints every key"
	if near := nearest(key, Keys()); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Errorf("%s:%d: unknown key %q: %s", name, line, key, hint)
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

// nearest gives the known key with the least edit distance to key, whole or
// without its table, if that is at most a third of its length; "" if none is.
func nearest(key string, known []string) string {
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

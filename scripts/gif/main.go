// SPDX-License-Identifier: Apache-2.0

// Gif makes a moving picture of pictures: `go run ./scripts/gif OUT.gif DIR` takes the PNG
// files of DIR in the order of their names. It is for screens: it keeps their commonest
// colours, and of each picture what has changed.
package main

import (
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Each picture is shown for delay hundredths of a second, the last one for lastDelay.
const (
	delay     = 25
	lastDelay = 300
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gif OUT.gif DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "gif:", err)
		os.Exit(1)
	}
}

func run(out, dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("there are no pictures in %s", dir)
	}
	slices.Sort(names)
	var all []image.Image
	for _, name := range names {
		i, err := read(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, i)
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	err = gif.EncodeAll(file, moving(all))
	return cmp.Or(err, file.Close())
}

func read(name string) (image.Image, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return png.Decode(file)
}

// moving shows what changes.
func moving(all []image.Image) *gif.GIF {
	colours := commonest(all)
	near := map[color.RGBA]uint8{} // of what was looked for before
	g := &gif.GIF{}
	var before *image.Paletted
	for _, i := range all {
		b := i.Bounds()
		p := image.NewPaletted(b, colours)
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				c := rgba(i.At(x, y))
				n, known := near[c]
				if !known {
					n = uint8(colours.Index(c))
					near[c] = n
				}
				p.SetColorIndex(x, y, n)
			}
		}
		changed := difference(before, p)
		if before != nil && changed.Empty() {
			g.Delay[len(g.Delay)-1] += delay
			continue
		}
		g.Image = append(g.Image, p.SubImage(changed).(*image.Paletted))
		g.Delay = append(g.Delay, delay)
		before = p
	}
	g.Delay[len(g.Delay)-1] = lastDelay
	return g
}

func rgba(c color.Color) color.RGBA { return color.RGBAModel.Convert(c).(color.RGBA) }

// commonest gives the colours that most of the picture is made of.
func commonest(all []image.Image) color.Palette {
	const most, apart = 256, 3 // of every third dot
	count := map[color.RGBA]int{}
	for _, i := range all {
		b := i.Bounds()
		for y := b.Min.Y; y < b.Max.Y; y += apart {
			for x := b.Min.X; x < b.Max.X; x += apart {
				count[rgba(i.At(x, y))]++
			}
		}
	}
	sorted := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] })
	var p color.Palette
	for _, c := range sorted[:min(most, len(sorted))] {
		p = append(p, c)
	}
	return p
}

// difference is where two pictures differ; all of it without the first.
func difference(a, b *image.Paletted) image.Rectangle {
	if a == nil {
		return b.Bounds()
	}
	var changed image.Rectangle
	for y := b.Rect.Min.Y; y < b.Rect.Max.Y; y++ {
		for x := b.Rect.Min.X; x < b.Rect.Max.X; x++ {
			if a.ColorIndexAt(x, y) != b.ColorIndexAt(x, y) {
				changed = changed.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return changed
}

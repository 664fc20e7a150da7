package main

import (
	"image/color"
	"maps"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var inks = []color.Color{
	color.RGBA{0x1f, 0x77, 0xb4, 0xff}, color.RGBA{0xd6, 0x27, 0x28, 0xff},
	color.RGBA{0x2c, 0xa0, 0x2c, 0xff}, color.RGBA{0x94, 0x67, 0xbd, 0xff}, color.RGBA{0x80, 0x80, 0x80, 0xff},
}

// curve is one line of a picture.
type curve struct {
	name   string
	points plotter.XYs
}

// draw writes an SVG; with sizes its axis is logarithmic and marked there. The axis upward begins at nothing: a flat line
// has to look flat.
func draw(file, title, x, y string, sizes []int, curves []curve) error {
	picture := plot.New()
	picture.Title.Text, picture.X.Label.Text, picture.Y.Label.Text = title, x, y
	picture.Y.Min = 0
	if len(sizes) > 0 {
		var ticks []plot.Tick
		for _, size := range sizes {
			ticks = append(ticks, plot.Tick{Value: float64(size), Label: strconv.Itoa(size)})
		}
		picture.X.Scale, picture.X.Tick.Marker = plot.LogScale{}, plot.ConstantTicks(ticks)
	}
	picture.Add(plotter.NewGrid())
	for index, one := range curves {
		if len(one.points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(one.points)
		if err != nil {
			return err
		}
		line.Color, dots.Color = inks[index%len(inks)], inks[index%len(inks)]
		picture.Add(line, dots)
		if one.name != "" {
			picture.Legend.Add(one.name, line, dots)
		}
	}
	picture.Legend.Top, picture.Legend.Left = true, true
	picture.Y.Max *= 1.25
	if len(curves) > 1 {
		picture.Y.Max *= 1.25 // the legend stands above the curves
	}
	picture.X.Max *= 1.04 // and the last label within the picture
	return picture.Save(16*vg.Centimeter, 9*vg.Centimeter, file)
}

func (s series) curve(name string, marks []point) curve {
	result := curve{name: name}
	for _, p := range marks {
		height := p.Figure
		if s.Name == "workers" {
			height = p.PerSecond // more of them should do more, not the same for less
		}
		if height > 0 {
			result.points = append(result.points, plotter.XY{X: float64(p.Size), Y: height})
		}
	}
	return result
}

func (s series) plot(file string) error {
	own := s.curve("", s.Marks)
	if len(own.points) == 0 {
		return nil
	}
	unit := s.Unit
	if s.Name == "workers" {
		unit = "requests a second"
	}
	if len(s.Others) == 0 {
		return draw(file, "tollgate: "+s.Name, s.Axis, unit, s.Sizes, []curve{own})
	}
	own.name = "tollgate"
	all := []curve{own}
	for _, name := range slices.Sorted(maps.Keys(s.Others)) {
		all = append(all, s.curve(name, s.Others[name]))
	}
	return draw(file, s.Axis, s.Axis, unit, s.Sizes, all)
}

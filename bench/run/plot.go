package main

import (
	"image/color"

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

// draw writes an SVG. The axis upward begins at nothing: a flat line has to look flat.
func draw(file, title, x, y string, logarithmic bool, curves []curve) error {
	picture := plot.New()
	picture.Title.Text, picture.X.Label.Text, picture.Y.Label.Text = title, x, y
	picture.Y.Min = 0
	if logarithmic {
		picture.X.Scale, picture.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
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
	return picture.Save(16*vg.Centimeter, 9*vg.Centimeter, file)
}

func (s series) plot(file string) error {
	var points plotter.XYs
	for _, p := range s.Marks {
		if p.Figure > 0 {
			points = append(points, plotter.XY{X: float64(p.Size), Y: p.Figure})
		}
	}
	if len(points) == 0 {
		return nil
	}
	return draw(file, "tollgate: "+s.Name, s.Axis, s.Unit, true, []curve{{"", points}})
}

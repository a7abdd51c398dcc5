//! Plots as SVG: bars with their least and greatest, and lines over points that have names.
//!
//! They draw what they are given; the numbers stand in the tables beside them.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::measure::spread::Spread;

/// Width and height of a plot in pixels.
const SIZE: (u32, u32) = (760, 380);

/// Grid and frame: seen on white and on black alike, as the pages may be either.
const INK: RGBColor = RGBColor(0x80, 0x80, 0x80);

/// Colours of the sides, ours first; told apart in grey too.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0x1b, 0x7f, 0x5c),
    RGBColor(0x6c, 0xc3, 0x9e),
    RGBColor(0xc4, 0x4e, 0x38),
    RGBColor(0x8a, 0x6d, 0xb5),
    RGBColor(0xc9, 0x9a, 0x2e),
];

/// A drawn plot.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// The name of its file, without the ending.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) title: String,
    pub(crate) svg: String,
}

/// One line of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// As many as there are points; what is no number above 0 is left out.
    pub(crate) values: Vec<f64>,
}

type Outcome = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Bars, each as high as its median, with a whisker from least to greatest.
pub(crate) fn bars(name: &str, title: &str, unit: &str, bars: &[(String, Spread)]) -> anyhow::Result<Plot> {
    draw(name, title, |area| {
        let top = bars.iter().map(|(_, spread)| spread.bounds()[1]).fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.15;
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(title, text(17))
            .x_label_area_size(34)
            .y_label_area_size(78)
            .build_cartesian_2d(-0.5..bars.len() as f64 - 0.5, 0.0..top)?;
        let label = |at: &f64| match bars.get(at.round() as usize) {
            Some((name, _)) if (at - at.round()).abs() < 1e-6 && *at > -0.1 => name.clone(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(2 * bars.len() + 1)
            .x_label_formatter(&label)
            .y_label_formatter(&short)
            .y_desc(unit)
            .label_style(text(13))
            .axis_style(INK)
            .bold_line_style(INK.mix(0.3))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (at, (_, spread)) in bars.iter().enumerate() {
            let (x, [least, greatest]) = (at as f64, spread.bounds());
            let colour = COLOURS[at % COLOURS.len()];
            let bar = Rectangle::new([(x - 0.3, 0.0), (x + 0.3, spread.median())], colour.filled());
            chart.draw_series(std::iter::once(bar))?;
            let whisker = PathElement::new(vec![(x, least), (x, greatest)], INK.stroke_width(2));
            chart.draw_series(std::iter::once(whisker))?;
            let told = Text::new(short(&spread.median()), (x + 0.04, greatest + top * 0.05), text(13));
            chart.draw_series(std::iter::once(told))?;
        }
        Ok(())
    })
}

/// Lines over points with names, upwards in powers of ten.
pub(crate) fn lines(name: &str, title: &str, unit: &str, points: &[&str], lines: &[Line]) -> anyhow::Result<Plot> {
    draw(name, title, |area| {
        let all = || lines.iter().flat_map(|line| &line.values).copied().filter(|value| *value > 0.0);
        // From one power of ten to another, so that at least these two are written beside the axis.
        let power = |value: f64, round: fn(f64) -> f64| 10_f64.powf(round(value.log10()));
        let least = all().reduce(f64::min).map_or(1.0, |least| power(least, f64::floor));
        let greatest = all().reduce(f64::max).map_or(10.0, |greatest| power(greatest, f64::ceil)).max(least * 10.0);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(title, text(17))
            .x_label_area_size(34)
            .y_label_area_size(78)
            .build_cartesian_2d(-0.3..points.len() as f64 - 0.7, (least..greatest).log_scale())?;
        let label = |at: &f64| match points.get(at.round() as usize) {
            Some(name) if (at - at.round()).abs() < 1e-6 && *at > -0.1 => (*name).to_owned(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(points.len() + 2)
            .x_label_formatter(&label)
            .y_label_formatter(&short)
            .y_desc(unit)
            .label_style(text(13))
            .axis_style(INK)
            .bold_line_style(INK.mix(0.3))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (at, line) in lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let path: Vec<(f64, f64)> =
                line.values.iter().enumerate().filter(|(_, y)| **y > 0.0).map(|(x, y)| (x as f64, *y)).collect();
            chart.draw_series(path.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
            chart
                .draw_series(LineSeries::new(path, colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(TRANSPARENT)
            .label_font(text(13))
            .draw()
    })
}

fn draw(
    name: &str,
    title: &str,
    paint: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Outcome,
) -> anyhow::Result<Plot> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let painted = area.fill(&TRANSPARENT).and_then(|()| paint(&area)).and_then(|()| area.present());
        painted.map_err(|error| anyhow!("cannot draw {title:?}: {error}"))?;
    }
    Ok(Plot { name: name.to_owned(), title: title.to_owned(), svg })
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// A number with few digits: `85k`, `1.2M`, `0.013`.
fn short(value: &f64) -> String {
    let value = *value;
    match value.abs() {
        size if size >= 10e6 => format!("{:.0}M", value / 1e6),
        size if size >= 1e6 => format!("{:.1}M", value / 1e6),
        size if size >= 10e3 => format!("{:.0}k", value / 1e3),
        size if size >= 1e3 => format!("{:.1}k", value / 1e3),
        size if size >= 10.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element is opened and closed, or empty, and closed in the order in which they were opened.
    #[track_caller]
    fn check(svg: &str) {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let inner = tag.split_once('>').expect("a tag without an end").0;
            if let Some(name) = inner.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name.trim()), "{svg}");
            } else if !inner.ends_with('/') && !inner.starts_with(['?', '!']) {
                open.push(inner.split_whitespace().next().unwrap());
            }
        }
        assert!(open.is_empty() && svg.starts_with("<svg") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn bars_are_drawn_with_their_names() {
        let bar = |name: &str, values: [f64; 3]| (name.to_owned(), Spread::new(values).unwrap());
        let given = [bar("ours & more", [84e3, 90e3, 87e3]), bar("theirs", [1.0, 2.0, 3.0])];
        let plot = bars("x", "a title", "a second", &given).unwrap();
        check(&plot.svg);
        for text in ["ours &amp; more", "theirs", "a title", "a second", "87k"] {
            assert!(plot.svg.contains(text), "{text} is missing in {}", plot.svg);
        }
    }

    #[test]
    fn lines_are_drawn_with_their_names() {
        let line = |name: &str, values: &[f64]| Line { name: name.to_owned(), values: values.to_vec() };
        let given = [line("ours", &[1.0, 10.0, 900.0]), line("theirs", &[0.0, f64::NAN, 5.0])];
        let plot = lines("x", "a title", "µs", &["p50", "p99", "p99.9"], &given).unwrap();
        check(&plot.svg);
        for text in ["ours", "theirs", "p50", "p99.9", "a title"] {
            assert!(plot.svg.contains(text), "{text} is missing in {}", plot.svg);
        }
        check(&lines("x", "nothing", "µs", &["p50"], &[]).unwrap().svg);
    }
}

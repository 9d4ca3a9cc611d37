//! Pictures as SVG and as PNG, from the same drawing code; and the demo's: accuracy and loss by round.

use std::path::Path;
use std::sync::Once;

use anyhow::{Context as _, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

const WIDTH: u32 = 1100;
const HEIGHT: u32 = 520;
pub(crate) const INK: RGBColor = RGBColor(33, 37, 41);
pub(crate) const FAINT: RGBColor = RGBColor(222, 226, 230);
const FEDERATED: RGBColor = RGBColor(0, 107, 166);
const CENTRAL: RGBColor = RGBColor(46, 125, 50);
const ALONE: RGBColor = RGBColor(191, 87, 0);
const PLAIN: RGBColor = RGBColor(130, 136, 142);

/// What the picture shows. Accuracies are shares of 1, on merchants that no device saw.
#[derive(Clone, Debug)]
pub struct Curves {
    /// One line above the plots.
    pub title: String,
    /// Accuracy of the initial model and after each round.
    pub accuracy: Vec<f64>,
    /// What the second picture shows.
    pub beside: Beside,
    /// The same model trained centrally.
    pub central: Option<f64>,
    /// The same model trained by one device alone.
    pub alone: Option<f64>,
    /// The same rounds without noise.
    pub plain: Option<f64>,
}

/// A curve beside the accuracy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// What it shows.
    pub caption: String,
    /// Round and value.
    pub points: Vec<(f64, f64)>,
}

/// What can be drawn. Text is set in the font `sans-serif`, which is compiled in.
pub trait Picture {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws everything on `root`, which has that size.
    ///
    /// # Errors
    /// The backend's.
    fn paint<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>;
}

/// Writes `curves` to `svg` and `png`.
///
/// # Errors
/// A file cannot be written, or there is no round to draw.
pub fn draw(curves: &Curves, svg: &Path, png: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(curves.accuracy.len() > 1, "there is no finished round to draw");
    save(curves, svg, png)
}

/// Writes `picture` to `svg` and `png`.
///
/// # Errors
/// A file cannot be written.
pub fn save(picture: &impl Picture, svg: &Path, png: &Path) -> anyhow::Result<()> {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        // Fails only for a face that cannot be parsed; this one is compiled in.
        let _ = register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
    let size = picture.size();
    onto(picture, SVGBackend::new(svg, size)).with_context(|| format!("cannot draw {}", svg.display()))?;
    onto(picture, BitMapBackend::new(png, size)).with_context(|| format!("cannot draw {}", png.display()))
}

fn onto<B: DrawingBackend>(picture: &impl Picture, backend: B) -> anyhow::Result<()> {
    // A backend's error type need not be 'static, so it is turned into text.
    picture.paint(&backend.into_drawing_area()).map_err(|error| anyhow!("{error}"))
}

impl Picture for Curves {
    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT)
    }

    fn paint<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        panels(self, root)
    }
}

fn panels<B: DrawingBackend>(
    curves: &Curves,
    root: &DrawingArea<B, Shift>,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    root.fill(&WHITE)?;
    let root = root.titled(&curves.title, ("sans-serif", 24).into_font().color(&INK))?;
    let (left, right) = root.split_horizontally(WIDTH * 3 / 5);
    let rounds = curves.accuracy.len() as f64 - 1.0;

    let references = [
        ("trained centrally", curves.central, CENTRAL),
        ("without noise", curves.plain, PLAIN),
        ("one device alone", curves.alone, ALONE),
    ];
    let top = curves.accuracy.iter().copied().chain(references.iter().filter_map(|r| r.1)).fold(0.1, f64::max);
    let mut accuracy = ChartBuilder::on(&left)
        .caption("accuracy on merchants no device saw", ("sans-serif", 18).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..rounds, 0.0..(top * 1.15).min(1.0))?;
    accuracy
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .x_desc("round")
        .x_labels(curves.accuracy.len().min(21))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{:.0} %", y * 100.0))
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    for (label, value, color) in references {
        let Some(value) = value else { continue };
        accuracy
            .draw_series(LineSeries::new([(0.0, value), (rounds, value)], color.stroke_width(2)))?
            .label(format!("{label}: {:.1} %", value * 100.0))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    let points = || curves.accuracy.iter().enumerate().map(|(round, &value)| (round as f64, value));
    let last = curves.accuracy.last().copied().unwrap_or_default();
    accuracy
        .draw_series(LineSeries::new(points(), FEDERATED.stroke_width(3)))?
        .label(format!("federated: {:.1} %", last * 100.0))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], FEDERATED.stroke_width(3)));
    accuracy.draw_series(points().map(|point| Circle::new(point, 4, FEDERATED.filled())))?;
    accuracy
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(FAINT)
        .label_font(("sans-serif", 15).into_font().color(&INK))
        .draw()?;

    let Beside { caption, points } = &curves.beside;
    let highest = points.iter().map(|point| point.1).fold(0.1, f64::max);
    let mut beside = ChartBuilder::on(&right)
        .caption(caption, ("sans-serif", 18).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..rounds, 0.0..highest * 1.1)?;
    beside
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .x_desc("round")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .label_style(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    beside.draw_series(LineSeries::new(points.iter().copied(), FEDERATED.stroke_width(3)))?;
    beside.draw_series(points.iter().map(|point| Circle::new(*point, 4, FEDERATED.filled())))?;
    root.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pictures_are_written_and_show_the_figures() {
        let folder = tempfile::tempdir().unwrap();
        let (svg, png) = (folder.path().join("a.svg"), folder.path().join("a.png"));
        let curves = Curves {
            title: "a run".into(),
            accuracy: vec![0.05, 0.3, 0.48],
            beside: Beside { caption: "loss".into(), points: vec![(0.0, 2.9), (1.0, 1.8)] },
            central: Some(0.5),
            alone: Some(0.2),
            plain: Some(0.55),
        };
        draw(&curves, &svg, &png).unwrap();
        let text = std::fs::read_to_string(&svg).unwrap();
        assert!(text.contains("federated: 48.0 %") && text.contains("one device alone: 20.0 %"));
        assert!(text.contains("without noise: 55.0 %"));
        assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let curves = Curves {
            title: String::new(),
            accuracy: vec![0.1],
            beside: Beside::default(),
            central: None,
            alone: None,
            plain: None,
        };
        assert!(draw(&curves, Path::new("x.svg"), Path::new("x.png")).is_err());
    }
}

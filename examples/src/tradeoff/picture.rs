//! Accuracy by epsilon as a picture: one panel per size of the cohort.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use scale_privacy::plan::{Trust, Verdict};

use super::{Group, Report};
use crate::chart::{FAINT, INK, Picture};

const PANEL: (u32, u32) = (350, 320);
/// Panels side by side.
const COLUMNS: usize = 3;
/// Room for the title and the key.
const HEAD: u32 = 72;
const FOOT: u32 = 30;

const PLAIN: RGBColor = RGBColor(46, 125, 50);
const DISTRIBUTED: RGBColor = RGBColor(0, 107, 166);
const LOCAL: RGBColor = RGBColor(191, 87, 0);
const GUESSING: RGBColor = RGBColor(130, 136, 142);

impl Report {
    fn panels(&self) -> (usize, usize) {
        (self.groups.len().div_ceil(COLUMNS), self.groups.len().min(COLUMNS))
    }
}

impl Picture for Report {
    fn size(&self) -> (u32, u32) {
        let (rows, columns) = self.panels();
        // The key needs the width of two panels.
        (PANEL.0 * columns.max(2) as u32, PANEL.1 * rows as u32 + HEAD + FOOT)
    }

    fn paint<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        root.fill(&WHITE)?;
        let (width, height) = self.size();
        let middle = width as i32 / 2;
        write(root, "accuracy on unseen examples, by epsilon of a person", middle, 10, HPos::Center, 22)?;
        let key = [
            ("no noise", PLAIN, -275),
            ("distributed noise", DISTRIBUTED, -155),
            ("local noise", LOCAL, 25),
            ("guessing", GUESSING, 160),
        ];
        for (name, color, offset) in key {
            let x = middle + offset;
            root.draw(&PathElement::new([(x, 54), (x + 20, 54)], color.stroke_width(3)))?;
            write(root, name, x + 26, 46, HPos::Left, 15)?;
        }
        let note = format!(
            "hollow: the planner calls it hopeless; {} rounds, {} weights, delta {:e}",
            self.settings.rounds,
            self.settings.shape.dim(),
            self.settings.delta
        );
        write(root, &note, middle, (height - FOOT) as i32 + 6, HPos::Center, 15)?;
        let panels = root.margin(HEAD, FOOT, 0, 0).split_evenly(self.panels());
        for (group, panel) in self.groups.iter().zip(panels) {
            self.panel(group, &panel)?;
        }
        root.present()
    }
}

/// Puts `text` with its upper edge at `y` pixels from above.
fn write<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    text: &str,
    x: i32,
    y: i32,
    side: HPos,
    size: u32,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let style = ("sans-serif", size).into_font().color(&INK).pos(Pos::new(side, VPos::Top));
    root.draw(&Text::new(text, (x, y), style))
}

impl Report {
    fn panel<B: DrawingBackend>(
        &self,
        group: &Group,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        // Epsilons double from one to the next, so the axis shows their logarithm.
        let logs = || self.settings.epsilons.iter().map(|epsilon| epsilon.log2());
        let (low, high) = (logs().fold(f64::INFINITY, f64::min) - 0.3, logs().fold(f64::NEG_INFINITY, f64::max) + 0.3);
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{} devices", group.devices), ("sans-serif", 18).into_font().color(&INK))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(low..high, 0.0..1.0)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .x_desc("epsilon")
            .x_labels((high - low) as usize + 1)
            .x_label_formatter(&|log| format!("{}", (log.exp2() * 100.0).round() / 100.0))
            .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
            .label_style(("sans-serif", 14).into_font().color(&INK))
            .draw()?;
        for (level, color) in [(group.plain.mean(), PLAIN), (self.settings.shape.chance(), GUESSING)] {
            chart.draw_series(LineSeries::new([(low, level), (high, level)], color.stroke_width(2)))?;
        }
        for (trust, color) in [(Trust::Distributed, DISTRIBUTED), (Trust::Local, LOCAL)] {
            let points = || group.series(trust).map(|cell| ((cell.epsilon.log2(), cell.accuracy.mean()), &cell.plan));
            chart.draw_series(LineSeries::new(points().map(|(point, _)| point), color.stroke_width(2)))?;
            chart.draw_series(points().map(|(point, _)| Circle::new(point, 4, color.filled())))?;
            let hopeless = points().filter(|(_, plan)| plan.verdict == Verdict::Hopeless);
            chart.draw_series(hopeless.map(|(point, _)| Circle::new(point, 2, WHITE.filled())))?;
        }
        Ok(())
    }
}

//! The tables as plots: rates over the size of a record, latencies over the number of tasks.

use std::path::PathBuf;

use plotters::{prelude::*, style::RelativeSize};
use tierlog_benches::{place, table::Row};

/// A line: its name and its points.
type Line = (String, Vec<(f64, f64)>);

const SIZE: (u32, u32) = (1100, 620);

/// Records of each size, one task: bytes a second over the bytes of a record.
pub fn rates(by_size: &[(usize, Vec<Row>)]) {
    let point = |size: usize, row: &Row| (size as f64, row.median() * size as f64 / 1e6);
    let lines = lines(
        by_size.iter().map(|(size, rows)| (*size, rows.as_slice())),
        point,
    );
    let path = place::results().join("peers-append.svg");
    let labels = ("bytes a record", "MB/s");
    draw(
        &path,
        "append, not waiting for the disk, one task",
        labels,
        &lines,
    );
    println!("\nplot: {}", path.display());
}

/// The tables of each number of tasks: microseconds over tasks, p50 and p99.
pub fn latencies(by_tasks: &[(usize, Vec<Vec<Row>>)]) {
    for (at, share) in [(1, "p50"), (2, "p99")] {
        let tables = by_tasks.iter();
        let tables = tables.map(|(tasks, tables)| (*tasks, tables[at].as_slice()));
        let lines = lines(tables, |tasks, row| (tasks as f64, row.median()));
        let path = place::results().join(format!("peers-latency-{share}.svg"));
        let caption = format!("latency of a durable append, 100 B, {share}");
        draw(&path, &caption, ("tasks", "us"), &lines);
        println!("plot: {}", path.display());
    }
}

/// A line for each contestant that is in all tables.
fn lines<'a>(
    tables: impl Iterator<Item = (usize, &'a [Row])> + Clone,
    point: impl Fn(usize, &Row) -> (f64, f64),
) -> Vec<Line> {
    let (_, rows) = tables.clone().last().expect("a table");
    let line = |row: &Row| {
        let points = tables.clone().filter_map(|(x, rows)| {
            let same = rows.iter().find(|other| other.name == row.name);
            same.map(|row| point(x, row))
        });
        (row.name.clone(), points.collect())
    };
    rows.iter().map(line).collect()
}

fn draw(path: &PathBuf, caption: &str, labels: (&str, &str), lines: &[Line]) {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).expect("drawn");
    let (plot, legend) = root.split_horizontally(RelativeSize::Width(0.66));
    let points = lines.iter().flat_map(|(_, points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let of = points.clone().map(of);
        of.fold((f64::MAX, f64::MIN), |(low, high), f| {
            (low.min(f), high.max(f))
        })
    };
    let ((left, right), (low, high)) = (range(|p| p.0), range(|p| p.1));
    let mut chart = ChartBuilder::on(&plot)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (left..right * 1.1).log_scale(),
            (low * 0.8..high * 1.25).log_scale(),
        )
        .expect("drawn");
    chart
        .configure_mesh()
        .x_desc(labels.0)
        .y_desc(labels.1)
        .light_line_style(RGBColor(235, 235, 235))
        .draw()
        .expect("drawn");
    for (at, (name, points)) in lines.iter().enumerate() {
        let style = style(at, name);
        let line = LineSeries::new(points.iter().copied(), style).point_size(3);
        chart.draw_series(line).expect("drawn");
        let y = 40 + 22 * at as i32;
        let dash = PathElement::new([(4, y), (28, y)], style);
        legend.draw(&dash).expect("drawn");
        let text = Text::new(name.clone(), (34, y - 6), ("sans-serif", 12));
        legend.draw(&text).expect("drawn");
    }
    root.present().expect("written");
}

/// Ours are black and thick; the others differ by colour.
fn style(at: usize, name: &str) -> ShapeStyle {
    if name.starts_with("tierlog") {
        return BLACK.mix(1.0 - 0.25 * (at % 3) as f64).stroke_width(3);
    }
    Palette99::pick(at).stroke_width(1)
}

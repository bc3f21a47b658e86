//! How far a long command has got, on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar with this template, of a length that is not known yet. It shows nothing where stderr is no
/// terminal, or where what is printed is for programs.
pub(crate) fn progress(json: bool, template: &str) -> ProgressBar {
    let target = match json || !std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

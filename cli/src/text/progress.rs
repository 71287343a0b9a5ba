//! A bar of bytes on standard error, where a person looks at it.

use crate::setting::Setting;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar, or nothing where nobody looks.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar that begins with `word`; without a total it only counts.
    pub(crate) fn new(setting: &Setting, word: &'static str, total: Option<u64>) -> Self {
        if !setting.may_animate() {
            return Self(ProgressBar::hidden());
        }
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new).with_message(word);
        let template = match total {
            Some(_) => "{msg} {bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            None => "{msg} {binary_bytes}, {binary_bytes_per_sec}",
        };
        // The template is ours, and a bar without one still counts.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Where it stands.
    pub(crate) fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

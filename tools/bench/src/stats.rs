//! Medians, with the quartiles beside them: a machine that does something else now and then spoils neither.

use std::time::Duration;

/// What was measured of one subject, in the order of the rounds.
#[derive(Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds a duration, in milliseconds, if there is one.
    pub fn time(&mut self, duration: Option<Duration>) {
        self.0.extend(duration.map(|duration| duration.as_secs_f64() * 1000.0));
    }

    /// Adds a plain number, such as a rate.
    pub fn number(&mut self, number: f64) {
        self.0.push(number);
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Linear between neighbours; NaN if nothing was measured.
    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = part * sorted.len().saturating_sub(1) as f64;
        let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
        at(place.floor()) + (at(place.ceil()) - at(place.floor())) * place.fract()
    }

    /// Between which two values the middle half lies.
    pub fn quartiles(&self) -> (f64, f64) {
        (self.quantile(0.25), self.quantile(0.75))
    }

    /// `3.88 (3.71–4.20)`: the median, and between which two values the middle half lies.
    pub fn show(&self) -> String {
        let (low, high) = self.quartiles();
        format!("{} ({}–{})", digits(self.median()), digits(low), digits(high))
    }
}

/// Three significant digits or so, which is more than a benchmark like this can tell apart.
pub fn digits(number: f64) -> String {
    match number {
        n if !n.is_finite() => "—".to_string(),
        n if n < 10.0 => format!("{n:.2}"),
        n if n < 100.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// How many times `base` a median is.
pub fn ratio(sample: &Sample, base: &Sample) -> String {
    let ratio = sample.median() / base.median();
    if ratio.is_finite() { format!("{ratio:.2}") } else { "—".to_string() }
}

//! What Linux 6.18 took, as measured.

/// A congestion control of the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    Reno,
    Cubic,
}

/// How long a mebibyte took: one way, loss both ways and in the handshake, neither reordering nor
/// duplicates, no rate limit (L-110 to L-112).
#[derive(Debug)]
pub(crate) struct Completion {
    /// One way, in milliseconds.
    pub(crate) delay: u64,
    /// Loss in percent.
    pub(crate) loss: u64,
    /// Median in seconds; none if it took more than the limit of 600 or 900 s.
    pub(crate) median: Option<f64>,
    /// From least to most, in seconds.
    pub(crate) range: (f64, f64),
}

/// Longer than anybody waited.
const LIMIT: f64 = f64::INFINITY;

const fn took(delay: u64, loss: u64, median: f64, least: f64, most: f64) -> Completion {
    let median = if median == LIMIT { None } else { Some(median) };
    Completion { delay, loss, median, range: (least, most) }
}

#[rustfmt::skip]
pub(crate) const RENO: [Completion; 25] = [
    took(0, 0, 0.008, 0.006, 0.009), took(0, 1, 0.011, 0.007, 1.024), took(0, 5, 0.279, 0.008, 2.422),
    took(0, 10, 2.383, 0.732, 8.706), took(0, 20, 175.609, 24.240, LIMIT),
    took(1, 0, 0.022, 0.021, 0.026), took(1, 1, 0.116, 0.023, 1.104), took(1, 5, 0.635, 0.252, 2.196),
    took(1, 10, 3.029, 0.697, 7.813), took(1, 20, 285.758, 24.438, LIMIT),
    took(10, 0, 0.157, 0.156, 0.161), took(10, 1, 1.007, 0.174, 1.725), took(10, 5, 3.436, 2.213, 4.914),
    took(10, 10, 7.298, 4.690, 13.174), took(10, 20, 470.911, 22.360, LIMIT),
    took(50, 0, 0.756, 0.755, 0.759), took(50, 1, 4.529, 0.854, 9.387), took(50, 5, 14.667, 10.486, 18.302),
    took(50, 10, 26.903, 19.299, 36.338), took(50, 20, 469.273, 67.487, LIMIT),
    took(300, 0, 4.507, 4.506, 8.706), took(300, 1, 27.738, 4.513, 44.720), took(300, 5, 81.350, 63.224, 98.196),
    took(300, 10, 144.019, 108.488, 182.707), took(300, 20, LIMIT, 377.161, LIMIT),
];

#[rustfmt::skip]
pub(crate) const CUBIC: [Completion; 25] = [
    took(0, 0, 0.007, 0.004, 0.008), took(0, 1, 0.011, 0.008, 1.020), took(0, 5, 0.096, 0.009, 1.304),
    took(0, 10, 2.546, 0.216, 11.120), took(0, 20, 236.837, 23.600, LIMIT),
    took(1, 0, 0.022, 0.019, 0.031), took(1, 1, 0.090, 0.022, 1.098), took(1, 5, 1.017, 0.234, 2.209),
    took(1, 10, 4.328, 2.095, 14.880), took(1, 20, 320.573, 47.805, LIMIT),
    took(10, 0, 0.157, 0.154, 0.157), took(10, 1, 0.665, 0.179, 1.693), took(10, 5, 3.691, 2.109, 5.378),
    took(10, 10, 8.081, 4.026, 20.782), took(10, 20, 328.028, 48.055, LIMIT),
    took(50, 0, 0.758, 0.755, 0.857), took(50, 1, 3.664, 0.958, 6.971), took(50, 5, 14.783, 7.972, 18.634),
    took(50, 10, 29.124, 21.099, 54.511), took(50, 20, 257.917, 101.886, LIMIT),
    took(300, 0, 4.506, 4.503, 5.702), took(300, 1, 12.608, 5.104, 23.114), took(300, 5, 55.417, 34.517, 87.007),
    took(300, 10, 114.663, 82.989, 192.739), took(300, 20, LIMIT, 311.511, LIMIT),
];

/// Goodput in Mbit/s over 100 Mbit/s with a queue of 100 packets: 20 MB or 20 s (L-100 to L-105).
pub(crate) struct Goodput {
    pub(crate) control: Control,
    pub(crate) sack: bool,
    /// One way, in milliseconds.
    pub(crate) delay: u64,
    /// Loss in percent, as the link's text has it.
    pub(crate) loss: &'static str,
    pub(crate) median: f64,
    /// From least to most.
    pub(crate) range: (f64, f64),
}

const fn got(
    (control, sack): (Control, bool),
    delay: u64,
    loss: &'static str,
    median: f64,
    least: f64,
    most: f64,
) -> Goodput {
    Goodput { control, sack, delay, loss, median, range: (least, most) }
}

const RENO_SACK: (Control, bool) = (Control::Reno, true);
const RENO_NOSACK: (Control, bool) = (Control::Reno, false);
const CUBIC_SACK: (Control, bool) = (Control::Cubic, true);
const CUBIC_NOSACK: (Control, bool) = (Control::Cubic, false);

#[rustfmt::skip]
pub(crate) const GOODPUT: &[Goodput] = &[
    got(RENO_SACK, 1, "0%", 96.395, 96.378, 96.403), got(RENO_SACK, 1, "0.01%", 96.404, 96.311, 96.410),
    got(RENO_SACK, 1, "0.1%", 95.470, 95.106, 95.846), got(RENO_SACK, 1, "1%", 56.855, 51.489, 58.107),
    got(RENO_SACK, 1, "5%", 12.997, 11.058, 15.326),
    got(RENO_SACK, 5, "0%", 94.891, 94.738, 94.913), got(RENO_SACK, 5, "0.01%", 85.981, 81.571, 94.875),
    got(RENO_SACK, 5, "0.1%", 48.539, 43.573, 63.503), got(RENO_SACK, 5, "1%", 13.269, 11.607, 13.528),
    got(RENO_SACK, 5, "5%", 4.402, 4.349, 4.683),
    got(RENO_SACK, 25, "0%", 58.654, 58.599, 58.716), got(RENO_SACK, 25, "0.01%", 40.042, 30.430, 49.721),
    got(RENO_SACK, 25, "0.1%", 11.779, 8.714, 19.395), got(RENO_SACK, 25, "1%", 3.042, 2.330, 3.089),
    got(RENO_SACK, 25, "5%", 1.002, 0.822, 1.216),
    got(RENO_SACK, 50, "0%", 29.669, 29.617, 29.671), got(RENO_SACK, 50, "0.01%", 18.826, 15.190, 25.087),
    got(RENO_SACK, 50, "0.1%", 6.596, 4.441, 7.372), got(RENO_SACK, 50, "1%", 1.536, 1.109, 2.000),
    got(RENO_SACK, 50, "5%", 0.587, 0.477, 0.656),
    got(CUBIC_SACK, 1, "1%", 45.747, 40.751, 46.992), got(CUBIC_SACK, 1, "5%", 7.471, 5.998, 7.970),
    got(CUBIC_SACK, 5, "1%", 11.426, 10.386, 12.616), got(CUBIC_SACK, 5, "5%", 3.533, 3.320, 4.012),
    got(CUBIC_SACK, 25, "1%", 2.830, 2.098, 3.194), got(CUBIC_SACK, 25, "5%", 0.917, 0.732, 1.030),
    got(CUBIC_SACK, 50, "1%", 1.513, 1.059, 2.477), got(CUBIC_SACK, 50, "5%", 0.499, 0.403, 0.703),
    got(RENO_NOSACK, 1, "0%", 83.826, 81.039, 83.907), got(RENO_NOSACK, 1, "0.1%", 81.920, 72.704, 94.823),
    got(RENO_NOSACK, 1, "1%", 46.983, 33.162, 52.287),
    got(RENO_NOSACK, 25, "0%", 10.724, 10.099, 16.298), got(RENO_NOSACK, 25, "0.1%", 6.433, 5.941, 7.447),
    got(RENO_NOSACK, 25, "1%", 2.629, 2.307, 2.859), got(RENO_NOSACK, 25, "5%", 0.814, 0.642, 0.943),
    got(CUBIC_NOSACK, 1, "1%", 35.920, 32.411, 39.868),
    got(CUBIC_NOSACK, 25, "1%", 2.469, 1.966, 5.117), got(CUBIC_NOSACK, 25, "5%", 0.743, 0.578, 0.893),
];

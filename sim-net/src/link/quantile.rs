//! Quantiles of distributions: what a uniform number means to them.
//!
//! The logarithms are those of the crate `libm`, so that every platform computes the same.

/// A draw as a number strictly between 0 and 1, with 53 bits.
pub(crate) fn unit(draw: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 52) as f64;
    ((draw >> 12) as f64 + 0.5) * STEP
}

/// The quantile of the exponential distribution with mean 1.
pub(crate) fn exponential(p: f64) -> f64 {
    -libm::log1p(-p)
}

/// The quantile of the Pareto distribution with least value 1.
pub(crate) fn pareto(p: f64, alpha: f64) -> f64 {
    libm::exp(exponential(p) / alpha)
}

/// The quantile of the standard normal distribution: algorithm AS 241, PPND16 (Wichura 1988), good
/// to 16 digits.
pub(crate) fn normal(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * horner(&CENTRE.0, r) / horner(&CENTRE.1, r);
    }
    let r = libm::sqrt(-libm::log(if q < 0.0 { p } else { 1.0 - p }));
    let (table, r) = if r <= 5.0 { (&SHOULDER, r - 1.6) } else { (&TAIL, r - 5.0) };
    let value = horner(&table.0, r) / horner(&table.1, r);
    if q < 0.0 { -value } else { value }
}

fn horner(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// Numerator and denominator, lowest power first.
type Rational = ([f64; 8], [f64; 8]);

#[expect(clippy::excessive_precision, reason = "as the paper prints them")]
const CENTRE: Rational = (
    [
        3.387_132_872_796_366_608_0,
        1.331_416_678_917_843_774_5e2,
        1.971_590_950_306_551_442_7e3,
        1.373_169_376_550_946_112_5e4,
        4.592_195_393_154_987_145_7e4,
        6.726_577_092_700_870_085_3e4,
        3.343_057_558_358_812_810_5e4,
        2.509_080_928_730_122_672_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091_125_2e1,
        6.871_870_074_920_579_082_9e2,
        5.394_196_021_424_751_107_7e3,
        2.121_379_430_158_659_586_7e4,
        3.930_789_580_009_271_061_0e4,
        2.872_908_573_572_194_267_4e4,
        5.226_495_278_852_854_561_0e3,
    ],
);

#[expect(clippy::excessive_precision, reason = "as the paper prints them")]
const SHOULDER: Rational = (
    [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_90,
        5.769_497_221_460_691_405_50,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        2.417_807_251_774_506_117_70e-1,
        2.272_384_498_926_918_458_33e-2,
        7.745_450_142_783_414_076_40e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_40,
        6.897_673_349_851_000_045_50e-1,
        1.481_039_764_274_800_745_90e-1,
        1.519_866_656_361_645_719_66e-2,
        5.475_938_084_995_344_946_00e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
);

#[expect(clippy::excessive_precision, reason = "as the paper prints them")]
const TAIL: Rational = (
    [
        6.657_904_643_501_103_777_20,
        5.463_784_911_164_114_369_90,
        1.784_826_539_917_291_335_80,
        2.965_605_718_285_048_912_30e-1,
        2.653_218_952_657_612_309_30e-2,
        1.242_660_947_388_078_438_60e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879_376_90e-1,
        1.369_298_809_227_358_053_10e-1,
        1.487_536_129_085_061_485_25e-2,
        7.868_691_311_456_132_591_00e-4,
        1.846_318_317_510_054_681_80e-5,
        1.421_511_758_316_445_888_70e-7,
        2.044_263_103_389_939_785_64e-15,
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Φ, by the complementary error function.
    fn phi(z: f64) -> f64 {
        0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
    }

    #[test]
    fn the_normal_quantile_inverts_the_distribution() {
        for exponent in 1..50 {
            let p = 0.5_f64.powi(exponent);
            assert!((phi(normal(p)) / p - 1.0).abs() < 1e-12, "{p}");
            assert!((normal(1.0 - p) + normal(p)).abs() < 1e-2 * normal(p).abs().max(1e-9), "{p}");
        }
        assert!((normal(0.975) - 1.959_963_984_540_054).abs() < 1e-14);
        assert!(normal(unit(0)).is_finite() && normal(unit(u64::MAX)).is_finite());
    }

    #[test]
    fn a_draw_is_strictly_between_0_and_1() {
        assert!(unit(0) > 0.0 && unit(u64::MAX) < 1.0);
        assert_eq!(unit(1 << 63), 0.5 + unit(0));
    }
}

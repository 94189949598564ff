use super::*;
use crate::{HeldOut, Timing};

/// A step with nothing wrong.
fn healthy(step: u64) -> StepMetrics {
    let metrics = [("loss_over_ln_n", 0.5), ("embedding_std", 0.9), ("temperature", 0.1)];
    StepMetrics {
        step,
        loss: 3.0,
        grad_norm: 1.0,
        learning_rate: 1e-3,
        metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        timing: Timing::default(),
    }
}

fn with(step: u64, name: &str, value: f64) -> StepMetrics {
    let mut metrics = healthy(step);
    metrics.metrics.insert(name.into(), value);
    metrics
}

fn validation(step: u64, validation_loss: f64) -> ValidationMetrics {
    let held_out = HeldOut { num_pairs: 500, effective_rank: 40.0, embedding_std: 0.9, ..HeldOut::default() };
    ValidationMetrics { step, validation_loss, held_out, is_best: false, metrics: BTreeMap::new() }
}

fn alarms() -> Alarms {
    Alarms::new(50, 128)
}

/// What is reported at which step of a run.
fn said(alarms: &mut Alarms, steps: impl IntoIterator<Item = StepMetrics>) -> Vec<(u64, String)> {
    steps
        .into_iter()
        .flat_map(|metrics| alarms.observe_step(&metrics).into_iter().map(move |text| (metrics.step, text)))
        .collect()
}

fn steps(said: &[(u64, String)]) -> Vec<u64> {
    said.iter().map(|(step, _)| *step).collect()
}

#[test]
fn a_healthy_run_is_silent() {
    let mut alarms = alarms();
    for step in 1..=1000 {
        assert_eq!(alarms.observe_step(&healthy(step)), [""; 0]);
        if step.is_multiple_of(100) {
            assert_eq!(alarms.observe_validation(&validation(step, 3.0 - step as f64 / 1000.0)), [""; 0]);
        }
    }
}

#[test]
fn a_loss_at_ln_n_is_said_after_the_warm_up_and_once_in_a_hundred_steps() {
    let stuck = || (1..=450).map(|step| with(step, "loss_over_ln_n", 0.99));
    let found = said(&mut alarms(), stuck());
    assert_eq!(steps(&found), [100, 200, 300, 400]);
    assert!(
        found[0].1.starts_with("the loss is 0.990 of ln N, mean of the last steps (alarm above 0.97)"),
        "{found:?}"
    );
    assert!(found[0].1.contains("loss.temperature"));
    assert_eq!(steps(&said(&mut Alarms::new(220, 128), stuck())), [220, 320, 420]);
    // One bad step among good ones raises no alarm, nor does a loss that does not report the ratio.
    let once = (1..=300).map(|step| with(step, "loss_over_ln_n", if step == 150 { 1.2 } else { 0.9 }));
    assert_eq!(said(&mut alarms(), once), []);
    let silent = (1..=300).map(|step| StepMetrics { metrics: BTreeMap::new(), ..healthy(step) });
    assert_eq!(said(&mut alarms(), silent), []);
}

#[test]
fn an_alarm_that_comes_and_goes_is_not_said_each_time() {
    let flicker = (1..=350).map(|step| with(step, "embedding_std", if step % 2 == 0 { 0.05 } else { 0.5 }));
    let found = said(&mut alarms(), flicker);
    assert_eq!(steps(&found), [100, 200, 300]);
    assert!(found[0].1.starts_with("the embeddings have collapsed: their spread is 0.0500"), "{found:?}");
    assert!(found[0].1.contains("(alarm below 0.1)"));
}

#[test]
fn a_low_effective_rank_is_relative_to_what_is_possible() {
    let rank = |dim, num_pairs, effective_rank| {
        let mut metrics = validation(500, 3.0);
        metrics.held_out = HeldOut { num_pairs, effective_rank, ..metrics.held_out };
        Alarms::new(0, dim).observe_validation(&metrics)
    };
    let text = rank(128, 500, 6.3).concat();
    assert!(text.starts_with("the held-out embeddings use 6.3 of 128 dimensions (effective rank; alarm below 6.4)"));
    // 5 % of 128 is 6.4; 20 pairs have at most 20 dimensions, so 2 are few; of 4, one is.
    for (dim, num_pairs, effective_rank, is_low) in [
        (128, 500, 6.5, false),
        (128, 20, 2.1, false),
        (128, 20, 1.9, true),
        (4, 500, 1.1, false),
        (4, 500, 0.9, true),
        (128, 1, 0.0, false),
    ] {
        assert_eq!(
            rank(dim, num_pairs, effective_rank).len(),
            usize::from(is_low),
            "{dim} {num_pairs} {effective_rank}"
        );
    }
}

#[test]
fn held_out_embeddings_that_collapsed_are_said_but_not_twice() {
    let mut metrics = validation(500, 3.0);
    metrics.held_out.embedding_std = 0.01;
    let mut alarms = alarms();
    assert_eq!(alarms.observe_step(&with(450, "embedding_std", 0.01)).len(), 1);
    assert_eq!(alarms.observe_validation(&metrics), [""; 0]);
    metrics.step = 600;
    assert!(alarms.observe_validation(&metrics)[0].starts_with("the held-out embeddings have collapsed"));
    // An untrained encoder may map all samples to nearly one point.
    metrics.step = 20;
    assert_eq!(Alarms::new(0, 128).observe_validation(&metrics), [""; 0]);
}

#[test]
fn a_learned_temperature_at_its_bound_is_said_and_a_fixed_one_is_not() {
    // Falls to 0.01 at step 160, in single precision.
    let falling = |step: u64| f64::from((0.17 - 0.001 * step as f32).max(0.01));
    let found = said(&mut alarms(), (1..=300).map(|step| with(step, "temperature", falling(step))));
    assert_eq!(steps(&found), [179, 279]);
    assert!(found[0].1.starts_with("the learned temperature has been at its bound of 0.01 for 20 steps"), "{found:?}");
    let rising = |step: u64| (0.5 + 0.01 * step as f64).min(1.0);
    let found = said(&mut alarms(), (1..=120).map(|step| with(step, "temperature", rising(step))));
    assert!(steps(&found) == [100] && found[0].1.contains("hardly told apart"), "{found:?}");
    for fixed in [0.01, 1.0] {
        assert_eq!(said(&mut alarms(), (1..=300).map(|step| with(step, "temperature", fixed))), []);
    }
}

#[test]
fn a_gradient_many_times_its_median_is_an_explosion() {
    let norm = |step: u64| match step {
        30 | 80 => 50.0,
        // Nineteen times the median is not enough.
        90 => 19.0,
        _ => 1.0 + (step % 3) as f64 / 10.0,
    };
    let run = (1..=120).map(|step| StepMetrics { grad_norm: norm(step), ..healthy(step) });
    let found = said(&mut alarms(), run);
    // At step 30 there is no median yet.
    assert_eq!(steps(&found), [80]);
    assert!(found[0].1.starts_with("the gradient norm is 5.000e1, 45 times its median of 1.100e0"), "{found:?}");
    // A gradient that has almost vanished may be many times smaller than before and still grow.
    let vanishing = |step: u64| if step > 200 { if step == 400 { 1e-3 } else { 1e-6 } } else { 1.0 };
    let run = (1..=450).map(|step| StepMetrics { grad_norm: vanishing(step), ..healthy(step) });
    assert_eq!(said(&mut alarms(), run), []);
}

/// Reports of validations, one every 100 steps, while the training loss is `training_loss` of the step.
fn validated(losses: &[f64], training_loss: impl Fn(u64) -> f64) -> Vec<(u64, String)> {
    let mut alarms = alarms();
    let mut found = vec![];
    for (at, &loss) in losses.iter().enumerate() {
        let from = at as u64 * 100;
        for step in from + 1..=from + 100 {
            alarms.observe_step(&StepMetrics { loss: training_loss(step), ..healthy(step) });
        }
        let text = alarms.observe_validation(&validation(from + 100, loss));
        found.extend(text.into_iter().map(|text| (from + 100, text)));
    }
    found
}

#[test]
fn a_rising_validation_loss_is_overfitting_while_the_training_loss_falls() {
    let losses = [3.0, 2.0, 2.1, 2.2, 2.2, 2.3, 2.4, 2.5, 1.9, 2.5];
    let falling = |step: u64| 3.0 - step as f64 / 1000.0;
    let found = validated(&losses, falling);
    assert_eq!(steps(&found), [700, 800]);
    let text = &found[0].1;
    assert!(text.starts_with("overfitting: the validation loss is 2.4000 after 2.0000 at step 200, 5 validations ago"));
    // Where both rise, it is not overfitting; and a validation loss that stays level does not rise.
    assert_eq!(validated(&losses, |step| 3.0 + step as f64 / 1000.0), []);
    assert_eq!(validated(&[2.0, 2.01, 2.0, 2.02, 2.03, 2.01, 2.02, 2.0], falling), []);
}

/// A run in which much goes wrong, with a validation every 50 steps.
fn wild(alarms: &mut Alarms, step: u64) -> Vec<String> {
    let mut metrics = healthy(step);
    let wave = (step as f64 * 0.37).sin();
    metrics.loss = 3.0 - step as f64 / 400.0 + 0.1 * wave;
    metrics.grad_norm = if step % 70 == 69 { 100.0 } else { 1.0 + 0.3 * wave };
    metrics.metrics.insert("loss_over_ln_n".into(), 0.97 + 0.02 * wave);
    metrics.metrics.insert("embedding_std".into(), 0.1 + 0.05 * wave);
    metrics.metrics.insert("temperature".into(), (0.1 - step as f64 / 2000.0).max(0.01));
    let mut said = alarms.observe_step(&metrics);
    if step.is_multiple_of(50) {
        let mut metrics = validation(step, 1.0 + step as f64 / 500.0);
        metrics.held_out.effective_rank = 6.4 + 3.0 * wave;
        said.extend(alarms.observe_validation(&metrics));
    }
    said
}

#[test]
fn a_state_from_a_checkpoint_goes_on_as_if_there_had_been_no_interruption() {
    let (mut whole, mut resumed) = (alarms(), alarms());
    let mut all = String::new();
    for step in 1..=600 {
        resumed = serde_json::from_str(&serde_json::to_string(&resumed).unwrap()).unwrap();
        let said = wild(&mut whole, step);
        assert_eq!(said, wild(&mut resumed, step), "step {step}");
        all += &said.concat();
    }
    assert_eq!(whole, resumed);
    for alarm in ["of ln N", "collapsed", "effective rank", "temperature", "gradient norm", "overfitting"] {
        assert!(all.contains(alarm), "{alarm} was never said");
    }
}

#[test]
fn what_is_no_number_is_passed_over() {
    let mut alarms = alarms();
    for step in 1..=300 {
        let mut metrics = healthy(step);
        if step.is_multiple_of(7) {
            (metrics.loss, metrics.grad_norm) = (f64::NAN, f64::INFINITY);
            metrics.metrics.values_mut().for_each(|value| *value = f64::NAN);
        }
        alarms.observe_step(&metrics);
        alarms.observe_validation(&validation(step, f64::NAN));
        let json = serde_json::to_string(&alarms).unwrap();
        assert_eq!(serde_json::from_str::<Alarms>(&json).unwrap(), alarms);
    }
}

#[test]
fn a_starving_trainer_is_said_with_the_setting_that_feeds_it() {
    let mut starving = Starving::new(3);
    let mut observe = |step, wait_fraction| {
        starving.observe(&StepMetrics { timing: Timing { wait_fraction, ..Timing::default() }, ..healthy(step) })
    };
    // The first steps of a run wait for the first batches; a single long wait is no alarm either.
    let waits =
        [(10, 0.9), (20, 0.1), (30, 0.5), (40, 0.1), (50, 0.25), (60, 0.25), (70, 0.5), (170, 0.3), (180, 0.19)];
    let said: Vec<(u64, String)> =
        waits.into_iter().filter_map(|(step, wait)| Some((step, observe(step, wait)?))).collect();
    assert_eq!(steps(&said), [60, 170]);
    let expected = "the trainer waited for data 25 % of the time since the last logged step (alarm above 20 %). Raise \
                    train.view_workers (now 3)";
    assert!(said[0].1.starts_with(expected), "{said:?}");
}

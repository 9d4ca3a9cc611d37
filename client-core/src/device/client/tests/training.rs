//! What training costs, what it is given, and what becomes of a round in which it fails.

use super::*;
#[cfg(target_arch = "wasm32")]
use crate::single_thread as tokio;

#[tokio::test]
async fn training_that_fails_sends_nothing() {
    struct Bad(f32);
    impl Trainer for Bad {
        fn begin<'a>(
            &'a mut self,
            _: &'a Plan,
            weights: &[f32],
            _: &[u8; 32],
        ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
            if self.0.is_nan() {
                let result = ConstantTrainer { step: f32::NAN, examples: 5 }.result(weights);
                return Ok(in_one_step(move || Ok(result)));
            }
            Err(TrainError::NoExamples)
        }
    }
    for (bad, code) in [(f32::NAN, "not_finite"), (0.0, "no_examples")] {
        let (shared, clock) = (coordinator(), clock());
        let device = client(host(&shared, &clock, 0));
        device.enroll("token", &Cancel::new()).await.expect("enrolls");
        let Outcome::Left { cause, .. } =
            device.participate(RunOptions::default(), &mut Bad(bad), &Cancel::new(), &mut ()).await.expect("no error")
        else {
            panic!("leaves");
        };
        assert_eq!(cause.code(), code);
        let coordinator = shared.lock().expect("no panic");
        assert!(coordinator.sent.is_empty());
        assert_eq!(coordinator.left.len(), 1, "the coordinator is told");
    }
}

#[tokio::test]
async fn a_device_that_cannot_pay_for_training_neither_downloads_nor_trains() {
    /// Knows what its training would cost, and must not be asked to do it.
    struct Dear(DpSgd);
    impl Trainer for Dear {
        fn price(&self, _: &Plan) -> Result<Option<DpSgd>, TrainError> {
            Ok(Some(self.0))
        }

        fn begin<'a>(
            &'a mut self,
            _: &'a Plan,
            _: &[f32],
            _: &[u8; 32],
        ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
            panic!("nobody pays for this training");
        }
    }
    let (shared, clock) = (coordinator(), clock());
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let mut dear = Dear(DpSgd::new(0.5, 1.0, 100).expect("in range"));
    let Outcome::Left { cause, .. } =
        device.participate(RunOptions::default(), &mut dear, &Cancel::new(), &mut ()).await.expect("no error")
    else {
        panic!("leaves");
    };
    assert_eq!(cause.code(), "round_too_costly", "{}", cause);
    let coordinator = shared.lock().expect("no panic");
    assert!(coordinator.downloads.is_empty() && coordinator.sent.is_empty());
    assert_eq!(coordinator.left.len(), 1, "the coordinator is told");
}

/// DP-SGD draws its batches and its noise from the secret: the same one twice would let the noise be subtracted.
#[tokio::test]
async fn every_training_has_a_secret_of_its_own() {
    struct Keeping(Vec<[u8; 32]>);
    impl Trainer for Keeping {
        fn begin<'a>(
            &'a mut self,
            _: &'a Plan,
            _: &[f32],
            secret: &[u8; 32],
        ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
            self.0.push(*secret);
            Err(TrainError::NoExamples)
        }
    }
    let mut keeping = Keeping(vec![]);
    let (shared, clock) = (coordinator(), clock());
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    for _ in 0..5 {
        let options = RunOptions::default();
        let outcome = device.participate(options, &mut keeping, &Cancel::new(), &mut ()).await.expect("no error");
        let Outcome::Left { cause, until, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(cause.code(), "no_examples");
        clock.advance(clock.now().until(until));
        shared.lock().expect("no panic").left.clear();
    }
    let distinct: std::collections::BTreeSet<_> = keeping.0.iter().collect();
    assert!(!keeping.0.is_empty() && distinct.len() == keeping.0.len(), "{} of {}", distinct.len(), keeping.0.len());
    assert!(keeping.0.len() > 1, "{}", keeping.0.len());
    assert!(!keeping.0.contains(&[0; 32]));
}

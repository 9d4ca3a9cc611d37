//! The limiter without Redis.

mod limit_cases;

use std::net::IpAddr;

use scale_clock::Timestamp;
use scale_records::domain::UserId;
use scale_rest::limit::{Bucket, Decision, LimitConfig, Limiter, Memory};

#[tokio::test]
async fn memory_answers_as_told() {
    let memory = Memory::new(100);
    limit_cases::check(async |bucket, limit, now| memory.take(bucket, limit, now)).await;
}

#[tokio::test]
async fn each_kind_of_bucket_has_its_own_limit() {
    let config: LimitConfig = serde_json::from_str(r#"{"user_per_minute": 2, "import_per_minute": 0}"#).unwrap();
    let limiter = Limiter::new(&config, None);
    let (user, now) = (UserId::new(), Timestamp::from_millis(limit_cases::START));
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    for (bucket, limit, remaining) in [(Bucket::Ip(address), 600, 599), (Bucket::User(user), 2, 1)] {
        let decision = limiter.take(bucket, now).await;
        assert_eq!((decision.allowed, decision.limit, decision.remaining), (true, limit, remaining));
    }
    for _ in 0..1000 {
        assert_eq!(limiter.take(Bucket::Import(user), now).await, Decision::UNLIMITED);
    }
    assert!(limiter.clone().take(Bucket::User(user), now).await.allowed);
    assert!(!limiter.take(Bucket::User(user), now).await.allowed, "a clone counts with the first");
    assert!(limiter.take(Bucket::User(UserId::new()), now).await.allowed);
    let wrong = serde_json::from_str::<LimitConfig>(r#"{"ip_per_second": 1}"#).unwrap_err();
    assert!(wrong.to_string().contains("ip_per_second"));
}

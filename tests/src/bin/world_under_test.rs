//! The native side of a test of an app, in a browser or on a phone: reads one order a line (`{"id": 1, "do": "start"}`) and
//! answers each with a line (`{"id": 1, "told": …}` or `{"id": 1, "error": "…"}`), in their order. It ends with its input,
//! and the coordinator with it.
#![allow(clippy::print_stdout)]

use anyhow::Context as _;
use scale_tests::world::{Order, World};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let beside = std::env::current_exe()?;
    let folder = beside.parent().context("this program lies in a folder")?;
    let mut world = World::new(folder.join("coordinator-under-test"));
    // This thread may wait for a line: the devices run on the others.
    for line in std::io::stdin().lines() {
        let order: Value = serde_json::from_str(&line?).context("an order is JSON")?;
        let answered = match Order::read(&order) {
            Ok(order) => world.obey(order).await,
            Err(error) => Err(error),
        };
        println!(
            "{}",
            match answered {
                Ok(told) => json!({ "id": order["id"], "told": told }),
                Err(error) => json!({ "id": order["id"], "error": format!("{error:#}") }),
            }
        );
    }
    Ok(())
}

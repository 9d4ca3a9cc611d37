import Foundation
@_spi(Testing) import ScaleFL

/// How a device takes part.
public typealias Taking = @Sendable (NativeClient, Stop, (any ProgressListener)?) async throws -> Outcome

/// A coordinator with one task, and apps around it.
public struct Scene: Sendable {
    public static let task = "merchants"
    public static let labels = ["dining", "fuel", "groceries"]

    public let world: World
    /// As apps reach the coordinator.
    public let url: String
    public let taskKey: String
    /// What the trainer of the testing build has to know.
    let step: Float
    /// What one app adds to the published sum.
    let units: Int
    /// Examples that the trainer of the testing build says it has seen.
    static let weight = 10

    /// - Parameters:
    ///   - natives: Devices that play in step.
    ///   - fields: Of the order `task`.
    ///   - gate: Whether calls of apps can be held.
    public static func set(
        natives: Int = 0, crowd: Int = 0, gate: Bool = false, _ fields: [String: any Sendable] = [:]
    ) async throws -> Scene {
        let world = try World()
        let started = try await world.tell("start", ["gate": gate])
        let told = try await world.tell("task", fields.merging(["name": task, "labels": labels]) { given, _ in given })
        if natives > 0 { try await world.tell("natives", ["task": task, "count": natives]) }
        if crowd > 0 { try await world.tell("crowd", ["task": task, "count": crowd]) }
        guard let url = started.text("url"), let taskKey = started.text("task_key"), let step = told.number("step"),
            let units = told.number("units"), let maxWeight = told.number("max_weight")
        else { throw Trouble("the world says \(started) \(told)") }
        // An update counts by the examples behind it.
        let own = Int(units) * weight / Int(maxWeight)
        return Scene(world: world, url: url, taskKey: taskKey, step: Float(step), units: own)
    }

    public func token() async throws -> String {
        guard let token = try await world.tell("token").text("token") else { throw Trouble("no token") }
        return token
    }

    /// Another person's app: nothing is shared with the others.
    public func person() throws -> Person {
        Person(scene: self, folder: try Place.newFolder())
    }

    /// Lets the native devices take part in so many rounds, one after the other.
    public func play(_ rounds: Int = 1) async throws {
        try await world.tell("play", ["task": Self.task, "rounds": rounds])
    }

    /// The published sum less everything that is known to be in it must be what the apps moved.
    public func exactSum(of number: UInt64, survivors: Int, moved: Int = 1) async throws {
        let apps = Array(repeating: Self.weight, count: moved)
        let told = try await world.beyondNatives(Self.task, number, apps: apps)
        guard told.number("survivors") == Double(survivors), told.pairs("beyond") == [[0, moved * units]] else {
            throw Trouble("the published sum is not that of all inputs: \(told), \(moved) apps have added \(units) each")
        }
    }

    /// How many devices are in the sum of the last round, once that is over.
    public func survivors(patience: Duration = .seconds(60)) async throws -> Double? {
        let end = ContinuousClock.now + patience
        while true {
            let rounds = try await world.tell("rounds", ["task": Self.task]).objects("rounds")
            if let last = rounds.last, ["finished", "abandoned"].contains(last.text("phase")) {
                return last.number("survivors")
            }
            if ContinuousClock.now > end { throw Trouble("the round stays open: \(rounds)") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Takes part with an update that is known beforehand: the first weight, moved in so many steps.
    public func moves(steps: Int = 1, stepMs: Int = 0, budgetMs: UInt64? = nil) -> Taking {
        { [step] native, stop, listener in
            try await native.testingParticipate(
                step: step, steps: UInt32(steps), stepMs: UInt64(stepMs), options: RunOptions(budgetMs: budgetMs), stop: stop, listener: listener)
        }
    }
}

/// Someone with the app.
public struct Person: Sendable {
    public let scene: Scene
    public let folder: String

    public func configuration(
        coordinator: String? = nil, task: String = Scene.task, taskKey: String? = nil, identityRoot: String? = nil,
        guardrails: OwnGuardrails? = nil, examples: ExampleLimits? = nil
    ) -> Configuration {
        Configuration(
            coordinator: coordinator ?? scene.url, folder: folder, task: task, taskKey: taskKey ?? scene.taskKey,
            identityRoot: identityRoot,
            requirements: Requirements(unmetered: false, power: .any, idle: false, strict: false),
            guardrails: guardrails, examples: examples)
    }

    public func client() throws -> ScaleClient {
        try ScaleClient(configuration())
    }

    public func enrolled() async throws -> ScaleClient {
        let client = try client()
        try await client.enroll(try await scene.token())
        return client
    }
}

/// What a contribution says.
public struct Contribution: Sendable {
    public let round: String
    public let number: UInt64
    public let receipt: Receipt?
}

extension ScaleClient {
    /// Takes part until it has contributed, as an app does: again when it may.
    public func contribute(
        _ call: @escaping Taking, patience: Duration = .seconds(90), progress: (@Sendable (RoundProgress) -> Void)? = nil
    ) async throws -> Contribution {
        let end = ContinuousClock.now + patience
        var seen: [String] = []
        while ContinuousClock.now < end {
            let outcome = try await run(progress: progress, call)
            switch outcome {
            case let .contributed(round, number, _, receipt):
                return Contribution(round: round, number: number, receipt: receipt)
            case .enrollmentNeeded:
                throw Trouble("\(outcome) after \(seen)")
            case .paused, .waited, .left:
                seen.append("\(outcome)")
                let wait = Schedule.next(after: outcome, status: nil)?.timeIntervalSinceNow ?? 0
                try await Task.sleep(for: min(.seconds(max(wait, 0.02)), max(end - .now, .zero)))
            }
        }
        throw Trouble("it has not contributed within \(patience): \(seen)")
    }
}

/// Examples of a person who eats out and drives.
public func examples(_ count: Int) -> [Example] {
    (0..<count).map { number in
        number.isMultiple(of: 2)
            ? Example(id: "t-\(number)", text: "CAFE ROMA \(number)", label: "dining")
            : Example(id: "t-\(number)", text: "PETROL OSLO \(number)", label: "fuel")
    }
}

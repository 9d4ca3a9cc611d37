import Foundation
import ScaleFL
import Scene
import XCTest

/// Programs that use the published library: the quick start of the README, in a project of its own, and the example.
final class ProgramTests: XCTestCase {
    private static let labels = ["dining", "fuel", "groceries"]

    func testTheQuickStartTakesPartAndPredicts() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let home = try Place.newFolder()
        let token = try await scene.token()
        try await scene.play()
        let program = try await Program.run(
            "SCALE_QUICK_START",
            environment: [
                "SCALE_COORDINATOR": scene.url, "SCALE_TASK": Scene.task, "SCALE_TASK_KEY": scene.taskKey,
                "SCALE_TOKEN": token, "HOME": home, "XDG_DATA_HOME": home + "/data",
            ])
        XCTAssertEqual(program.status, 0, program.errors)
        XCTAssertTrue(program.output.contains("contributed: "), program.output + program.errors)
        for label in Self.labels { XCTAssertTrue(program.output.contains("\n\(label) "), program.output) }
        let survivors = try await scene.survivors()
        XCTAssertEqual(survivors, 12)
        print("quick start:", program.output.split(separator: "\n").suffix(4).joined(separator: " | "))
    }

    func testTheExampleIsADeviceOfItsOwn() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let folder = try Place.newFolder()
        let environment = [
            "SCALE_FOLDER": folder, "SCALE_COORDINATOR": scene.url, "SCALE_TASK": Scene.task,
            "SCALE_TASK_KEY": scene.taskKey,
        ]
        func example(_ arguments: String...) async throws -> String {
            let program = try await Program.run("SCALE_EXAMPLE", arguments, environment: environment)
            XCTAssertEqual(program.status, 0, "\(arguments): \(program.errors)")
            return program.output
        }

        let file = folder + "/bank.csv"
        let rows = """
            Date;Description;Amount;Category
            2026-11-01;"CAFE ""ROMA""; OSLO";-4,50;dining
            2026-11-01;"CAFE ""ROMA""; OSLO";-4,50;dining
            2026-11-02;PETROL OSLO;-60,00;
            """
        try Data(rows.utf8).write(to: URL(fileURLWithPath: file))
        let imported = try await example("import", file)
        let lines = imported.split(separator: "\n")
        XCTAssertEqual(lines.count, 4, imported)
        XCTAssertTrue(lines[0].hasSuffix("  2026-11-01  -4,50  dining  CAFE \"ROMA\"; OSLO"), imported)
        XCTAssertTrue(lines[2].hasSuffix("  2026-11-02  -60,00  ?  PETROL OSLO"), imported)
        XCTAssertEqual(lines[3], "3 transactions, 3 of them new; 2 examples to learn from")
        let again = try await example("import", file)
        XCTAssertEqual(again, "3 transactions, 0 of them new; 2 examples to learn from\n")

        let id = try XCTUnwrap(lines[2].split(separator: " ").first.map(String.init))
        let corrected = try await example("correct", id, "fuel")
        XCTAssertEqual(corrected, "\(id) is fuel now: PETROL OSLO\n")
        let enrolled = try await example("enroll", try await scene.token())
        XCTAssertTrue(enrolled.hasPrefix("enrolled as "), enrolled)
        let categorized = try await example("categorize", "CAFE", "ROMA")
        XCTAssertEqual(categorized.split(separator: "\n").count, 3, categorized)
        XCTAssertTrue(categorized.contains(" %  dining"), categorized)

        try await scene.play(2)
        let joined = try await example("join", "--rounds", "2", "--any-conditions")
        let contributed = joined.split(separator: "\n").filter { $0.hasPrefix("round ") && $0.contains(": contributed; ") }
        XCTAssertEqual(contributed.count, 2, joined)
        for line in contributed {
            let number = try XCTUnwrap(line.split(separator: " ").dropFirst().first.flatMap { UInt64($0.dropLast()) })
            let sum = try await scene.world.beyondNatives(Scene.task, number, apps: [3])
            XCTAssertEqual(sum.number("survivors"), 12)
        }
        let status = try Told(try await example("status", "--json"))
        XCTAssertEqual(status.object("examples")?.number("total"), 3, "\(status)")
        let receipts = try await example("receipts")
        XCTAssertEqual(receipts.split(separator: "\n").filter { $0.hasPrefix("20") }.count, 2, receipts)
        print("example:", receipts.prefix { $0 != "\n" })
    }

    func testTheExampleSaysWhatIsWrong() async throws {
        let wrong: [([String], Int32, String)] = [
            ([], 2, "a command is missing; see --help"),
            (["learn"], 2, "there is no command learn"),
            (["status"], 2, "--folder is missing, and SCALE_FOLDER is not set"),
            (["status", "--fast"], 2, "there is no option --fast"),
            (["join", "--rounds", "no"], 2, "--rounds takes a number"),
            (["--folder", "/tmp/x", "--coordinator", "nowhere", "--task", "t", "--task-key", "0", "status"], 1, "coordinator"),
        ]
        for (arguments, status, sentence) in wrong {
            let program = try await Program.run("SCALE_EXAMPLE", arguments)
            XCTAssertEqual(program.status, status, "\(arguments)")
            XCTAssertTrue(program.errors.hasPrefix("scale-categorizer: "), program.errors)
            XCTAssertTrue(program.errors.contains(sentence), program.errors)
            XCTAssertEqual(program.output, "")
        }
        let help = try await Program.run("SCALE_EXAMPLE", ["--help"])
        XCTAssertEqual(help.status, 0)
        for word in ["enroll", "import", "categorize", "correct", "join", "status", "receipts", "SCALE_TASK_KEY"] {
            XCTAssertTrue(help.output.contains(word), word)
        }
    }
}

import Foundation
import ScaleFL
import Scene
import XCTest

/// What an app configures, and what it is told when that is wrong. Nothing here needs a coordinator.
final class CreationTests: XCTestCase {
    private func configuration(
        coordinator: String = "http://127.0.0.1:9", task: String = "merchants",
        taskKey: String = String(repeating: "00", count: 32), identityRoot: String? = nil, folder: String? = nil
    ) throws -> Configuration {
        Configuration(
            coordinator: coordinator, folder: try folder ?? Place.newFolder(), task: task, taskKey: taskKey,
            identityRoot: identityRoot)
    }

    func testAClientIsCreatedAndSaysWhereItStands() async throws {
        let client = try ScaleClient(configuration())
        let status = try await client.status()
        XCTAssertFalse(status.enrolled)
        XCTAssertEqual(status.examples.total, 0)
        XCTAssertNil(status.model)
        XCTAssertNil(status.phase)
        XCTAssertEqual(status.storage, .persistent)
        XCTAssertGreaterThanOrEqual(try client.guardrails().cohortMin, 2)
        XCTAssertFalse(sdkVersion().isEmpty)
    }

    func testEveryWrongOptionIsNamed() throws {
        let cases: [(String, () throws -> Configuration)] = [
            ("coordinator", { try self.configuration(coordinator: "not a url") }),
            ("coordinator", { try self.configuration(coordinator: "ftp://127.0.0.1") }),
            ("task", { try self.configuration(task: "Not A Task") }),
            ("taskKey", { try self.configuration(taskKey: "abc") }),
            ("taskKey", { try self.configuration(taskKey: String(repeating: "g", count: 64)) }),
            ("identityRoot", { try self.configuration(identityRoot: "12") }),
            ("folder", { try self.configuration(folder: "") }),
        ]
        for (option, configuration) in cases {
            XCTAssertThrowsError(try ScaleClient(configuration()), option) { error in
                guard let error = error as? ScaleError else { return XCTFail("\(error)") }
                XCTAssertEqual([error.kind, error.code], ["configuration", "bad_option"], option)
                let words = error.sentence.lowercased().replacingOccurrences(of: "_", with: "")
                XCTAssertTrue(words.contains(option.lowercased()), "\(option): \(error.sentence)")
                XCTAssertEqual(error.localizedDescription, "\(error.sentence) (bad_option)")
            }
        }
    }

    func testAFolderThatCannotBeUsedIsAnErrorOfTheStorage() throws {
        let file = try Place.newFolder() + "/file"
        try Data().write(to: URL(fileURLWithPath: file))
        XCTAssertThrowsError(try ScaleClient(configuration(folder: file + "/folder"))) { error in
            XCTAssertEqual((error as? ScaleError)?.kind, "storage", "\(error)")
        }
    }

    func testClientsOfOneFolderShareItAndDoNotDisagree() async throws {
        let folder = try Place.newFolder()
        let first = try ScaleClient(configuration(folder: folder))
        let second = try ScaleClient(configuration(folder: folder))
        try await first.put(examples(3))
        let total = try await second.status().examples.total
        XCTAssertEqual(total, 3)
        XCTAssertThrowsError(try ScaleClient(configuration(task: "another", folder: folder))) { error in
            XCTAssertEqual((error as? ScaleError)?.kind, "usage")
            XCTAssertEqual((error as? ScaleError)?.code, "folder_in_use")
        }
        try await first.close()
        let left = try await second.status().examples.total
        XCTAssertEqual(left, 3, "the other client goes on")
        try await second.close()
        let other = try ScaleClient(configuration(task: "another", folder: folder))
        try await other.close()
    }

    func testAClosedClientRefusesCalls() async throws {
        let client = try ScaleClient(configuration())
        try await client.close()
        try await client.close()
        await refuses("usage", "closed") { try await client.status() }
        await refuses("usage", "closed") { try await client.put(examples(1)) }
        await refuses("usage", "closed") { try await client.participate() }
    }

    func testExamplesArePutRemovedAndForgotten() async throws {
        let client = try ScaleClient(configuration())
        let added = try await client.put(examples(10))
        XCTAssertEqual([added.added, added.replaced, added.unchanged, added.dropped], [10, 0, 0, 0])
        let again = try await client.put(examples(9) + [Example(id: "t-9", text: "PETROL OSLO 9", label: "groceries")])
        XCTAssertEqual([again.added, again.replaced, again.unchanged, again.dropped], [0, 1, 9, 0])
        let removed = try await client.remove(ids: ["t-0", "t-1", "nobody"])
        XCTAssertEqual(removed, 2)
        let counts = try await client.status().examples
        XCTAssertEqual(counts.byLabel, ["dining": 4, "fuel": 3, "groceries": 1])
        try await client.forget(.examples)
        let total = try await client.status().examples.total
        XCTAssertEqual(total, 0)
        await refuses("usage", "no_model") { try await client.predict(["CAFE ROMA"]) }
    }

    func testACoordinatorThatIsNotThereIsAnErrorOfTheNetwork() async throws {
        let client = try ScaleClient(configuration())
        await refuses("network") { try await client.enroll("token") }
        await refuses("usage", "not_enrolled") { try await client.refreshModel() }
    }
}

/// A call that must fail with this kind, and code if one is given.
func refuses<Value>(
    _ kind: String, _ code: String? = nil, file: StaticString = #filePath, line: UInt = #line,
    _ call: () async throws -> Value
) async {
    do {
        let value = try await call()
        XCTFail("it returned \(value)", file: file, line: line)
    } catch let error as ScaleError {
        XCTAssertEqual(error.kind, kind, "\(error)", file: file, line: line)
        if let code { XCTAssertEqual(error.code, code, error.sentence, file: file, line: line) }
        XCTAssertFalse(error.sentence.isEmpty, file: file, line: line)
    } catch {
        XCTFail("\(type(of: error)): \(error)", file: file, line: line)
    }
}

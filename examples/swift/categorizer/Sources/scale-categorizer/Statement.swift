import Foundation
import ScaleFL

/// One line of an account.
struct Transaction {
    var id: String
    var date: String
    var description: String
    var amount: String
    /// Empty: not known.
    var category: String

    /// What the device learns from, if the category is known.
    var example: Example? {
        category.isEmpty ? nil : Example(id: id, text: description, label: category)
    }

    var shown: String {
        "\(id)  \(date)  \(amount)  \(category.isEmpty ? "?" : category)  \(description)"
    }
}

/// The person's transactions, in one file. The library has its own copy of those that it learns from, encrypted.
struct Statement {
    private static let columns = ["id", "date", "description", "amount", "category"]
    private let file: URL
    private(set) var transactions: [Transaction]

    init(folder: String) throws {
        file = URL(fileURLWithPath: folder).appendingPathComponent("transactions.csv")
        guard let text = try? String(contentsOf: file, encoding: .utf8) else {
            transactions = []
            return
        }
        transactions = try Self.transactions(text, from: file.path)
    }

    /// Adds the transactions of a bank's file that are not there yet. Returns those.
    mutating func add(_ path: String) throws -> [Transaction] {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw Problem("cannot read \(path): is it there, and a text in UTF-8?")
        }
        let known = Set(transactions.map(\.id))
        let new = try Self.transactions(text, from: path).filter { !known.contains($0.id) }
        transactions += new
        try save()
        return new
    }

    /// Sets the category of a transaction. Returns it.
    mutating func correct(_ id: String, _ category: String) throws -> Transaction {
        guard let index = transactions.firstIndex(where: { $0.id == id }) else {
            throw Problem("there is no transaction \(id): `import` shows ids")
        }
        transactions[index].category = category
        try save()
        return transactions[index]
    }

    private func save() throws {
        let rows = transactions.map { [$0.id, $0.date, $0.description, $0.amount, $0.category] }
        let text = ([Self.columns] + rows).map(Csv.line).joined()
        try Data(text.utf8).write(to: file, options: .atomic)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
    }

    private static func transactions(_ text: String, from path: String) throws -> [Transaction] {
        let rows: [[String]]
        do {
            rows = try Csv.read(text)
        } catch let problem as Problem {
            throw Problem("\(path): \(problem)")
        }
        let header = (rows.first ?? []).map { $0.trimmingCharacters(in: .whitespaces).lowercased() }
        guard header.contains("description") else {
            throw Problem("\(path): the first line must name the columns, and one of them `description`")
        }
        var occurrences: [String: Int] = [:]
        return rows.dropFirst().map { row in
            func field(_ name: String) -> String {
                guard let column = header.firstIndex(of: name), column < row.count else { return "" }
                return row[column].trimmingCharacters(in: .whitespaces)
            }
            let (date, description, amount) = (field("date"), field("description"), field("amount"))
            let content = "\(date)|\(description)|\(amount)"
            // The same purchase twice a day is two transactions.
            let occurrence = occurrences[content, default: 0]
            occurrences[content] = occurrence + 1
            let id = field("id").isEmpty ? identifier("\(content)|\(occurrence)") : field("id")
            return Transaction(
                id: id, date: date, description: description, amount: amount, category: field("category"))
        }
    }

    /// Twelve hex digits that follow from the content, so that a file can be imported again: FNV-1a.
    private static func identifier(_ content: String) -> String {
        let hash = content.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let digits = String(hash >> 16, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }
}

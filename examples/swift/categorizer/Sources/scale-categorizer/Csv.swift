import Foundation

/// What is wrong with what the person gave.
struct Problem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Tables as spreadsheets write them: fields with commas, quotes or line ends stand in quotes, and a quote is doubled.
enum Csv {
    /// Rows of fields. Lines without any field are left out.
    static func read(_ text: String) throws -> [[String]] {
        let separator = separator(of: text)
        var rows: [[String]] = []
        var row: [String] = []
        var field = ""
        var quoted = false
        var line = 1
        // A line end of two characters is one character here.
        var rest = Substring(text.hasPrefix("\u{feff}") ? text.dropFirst() : text[...])
        func endRow() {
            row.append(field)
            if row != [""] { rows.append(row) }
            (row, field) = ([], "")
        }
        while let character = rest.popFirst() {
            if character.isNewline { line += 1 }
            switch (character, quoted) {
            case ("\"", true) where rest.first == "\"":
                rest.removeFirst()
                field.append("\"")
            case ("\"", true): quoted = false
            case ("\"", false) where field.isEmpty: quoted = true
            case (separator, false):
                row.append(field)
                field = ""
            case (let character, false) where character.isNewline: endRow()
            default: field.append(character)
            }
        }
        if quoted { throw Problem("a quote is not closed before the end, line \(line)") }
        endRow()
        return rows
    }

    static func line(_ fields: [String]) -> String {
        let special: (Character) -> Bool = { $0 == "," || $0 == ";" || $0 == "\t" || $0 == "\"" || $0.isNewline }
        let quoted = fields.map { field in
            field.contains(where: special) ? "\"\(field.replacingOccurrences(of: "\"", with: "\"\""))\"" : field
        }
        return quoted.joined(separator: ",") + "\n"
    }

    /// Spreadsheets separate by a semicolon where a comma is part of numbers.
    private static func separator(of text: String) -> Character {
        let header = text.prefix { !$0.isNewline }
        return [",", ";", "\t"].first { header.contains($0) } ?? ","
    }
}

import Foundation

/// A command line that cannot be understood.
struct Misuse: Error, CustomStringConvertible {
    let description: String
}

/// What the person wants.
enum Command {
    case enroll(token: String)
    case importFile(path: String)
    case categorize(text: String)
    case correct(id: String, label: String)
    case join(rounds: Int, anyConditions: Bool)
    case status
    case receipts
}

/// The command line.
struct Arguments {
    static let help = """
        Categorizes transactions, and learns from them together with other devices: no transaction leaves this one.

        Usage: scale-categorizer [OPTIONS] COMMAND

        Commands:
          enroll TOKEN          Become a device of the coordinator, with a token from its operator
          import FILE.csv       Add a bank's file: columns date, description, amount and category, by the names in its first line
          categorize TEXT       The most probable categories of a line of text, with the model on this device
          correct ID LABEL      Say what a transaction is: the next round learns from it
          join                  Take part in a round of training
          status                Where this device stands
          receipts              What taking part has revealed so far, at most

        Options (or the environment variable):
          --folder DIR          Folder of this device (SCALE_FOLDER)
          --coordinator URL     Such as https://fl.example.org (SCALE_COORDINATOR)
          --task NAME           The task to take part in (SCALE_TASK)
          --task-key HEX        The key that the coordinator prints when it starts (SCALE_TASK_KEY)
          --json                One JSON document instead of text
          --rounds N            join: so many rounds, one after another [default: 1]
          --any-conditions      join: also on a metered network or a low battery
          -h, --help            This text
        """

    let folder: String
    let coordinator: String
    let task: String
    let taskKey: String
    let json: Bool
    let command: Command

    /// - Returns: `nil` if help is asked for.
    init?(_ words: [String], environment: [String: String]) throws {
        var values: [String: String] = [:]
        var flags: Set<String> = []
        var rest: [String] = []
        var words = words[...]
        while let word = words.popFirst() {
            switch word {
            case "-h", "--help": return nil
            case "--json", "--any-conditions": flags.insert(word)
            case "--folder", "--coordinator", "--task", "--task-key", "--rounds":
                guard let value = words.popFirst() else { throw Misuse(description: "\(word) needs a value") }
                values[word] = value
            case "--":
                rest += words
                words = []
            case _ where word.hasPrefix("--"): throw Misuse(description: "there is no option \(word)")
            default: rest.append(word)
            }
        }
        command = try Self.command(rest, rounds: values["--rounds"], anyConditions: flags.contains("--any-conditions"))
        func value(_ option: String) throws -> String {
            let variable = "SCALE_" + option.dropFirst(2).uppercased().replacingOccurrences(of: "-", with: "_")
            if let value = values[option] ?? environment[variable], !value.isEmpty { return value }
            throw Misuse(description: "\(option) is missing, and \(variable) is not set")
        }
        folder = try value("--folder")
        coordinator = try value("--coordinator")
        task = try value("--task")
        taskKey = try value("--task-key")
        json = flags.contains("--json")
    }

    private static func command(_ words: [String], rounds: String?, anyConditions: Bool) throws -> Command {
        guard let name = words.first else { throw Misuse(description: "a command is missing") }
        if name != "join", rounds != nil || anyConditions {
            throw Misuse(description: "--rounds and --any-conditions belong to the command join")
        }
        switch (name, Array(words.dropFirst())) {
        case let ("enroll", rest) where rest.count == 1: return .enroll(token: rest[0])
        case let ("import", rest) where rest.count == 1: return .importFile(path: rest[0])
        case let ("categorize", rest) where !rest.isEmpty: return .categorize(text: rest.joined(separator: " "))
        case let ("correct", rest) where rest.count == 2: return .correct(id: rest[0], label: rest[1])
        case let ("join", rest) where rest.isEmpty:
            guard let number = Int(rounds ?? "1"), number > 0 else {
                throw Misuse(description: "--rounds takes a number from 1 on, not \(rounds ?? "")")
            }
            return .join(rounds: number, anyConditions: anyConditions)
        case let ("status", rest) where rest.isEmpty: return .status
        case let ("receipts", rest) where rest.isEmpty: return .receipts
        case ("enroll", _): throw Misuse(description: "enroll takes one TOKEN")
        case ("import", _): throw Misuse(description: "import takes one FILE.csv")
        case ("categorize", _): throw Misuse(description: "categorize takes a TEXT")
        case ("correct", _): throw Misuse(description: "correct takes an ID and a LABEL")
        case ("join", _), ("status", _), ("receipts", _): throw Misuse(description: "\(name) takes no arguments")
        default: throw Misuse(description: "there is no command \(name)")
        }
    }
}

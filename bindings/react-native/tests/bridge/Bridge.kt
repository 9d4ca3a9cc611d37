// The Android module without Android: the same `Clients`, over the library for the JVM, behind lines of JSON. A test in Node.js
// is its JavaScript.

package io.scalefl.reactnative

import io.scalefl.sdk.NativeClient
import io.scalefl.sdk.support.Json
import java.io.File
import java.util.concurrent.ConcurrentHashMap
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

/**
 * Reads orders, `{"id": 1, "do": "create", "configuration": "…"}`, and writes what is answered, `{"id": 1, "answer": {…}}`, and
 * progress, `{"call": 2, "progress": "…"}`. A call's number is the one that it was announced with. It ends with its input.
 *
 * @param arguments the folder for installations.
 */
fun main(arguments: Array<String>): Unit = runBlocking(Dispatchers.Default) {
    val announced = ConcurrentHashMap<Int, Int>()
    val clients = Clients(
        open = { NativeClient(it.copy(folder = File(arguments[0], it.folder).path), null, null) },
        onProgress = { call, progress -> tell("call" to announced.getValue(call), "progress" to progress) },
    )
    // By JavaScript's number, which has to be there before the answer of a process could be.
    val calls = ConcurrentHashMap<Int, Int>()
    while (true) {
        val order = Json.read(readlnOrNull() ?: break) as Map<*, *>
        val number = { field: String -> (order[field] as Double).toInt() }
        val answer = { what: suspend () -> Answer -> launch { tell("id" to number("id"), "answer" to what()) } }
        when (val what = order["do"]) {
            "announce" -> clients.announce().let { calls[number("call")] = it; announced[it] = number("call") }
            "stop" -> calls[number("call")]?.let(clients::stop)
            "end" -> clients.end()
            "create" -> answer { clients.create(order["configuration"] as String) }
            "call" -> {
                val args = (order["args"] as List<*>).map { it as String }
                answer { clients.call(number("client"), calls[number("call")] ?: 0, order["method"] as String, args) }
            }
            else -> error("there is no order $what")
        }
    }
}

private fun tell(vararg fields: Pair<String, Any?>) {
    val line = Json.write(fields.toMap())
    synchronized(System.out) {
        println(line)
        System.out.flush()
    }
}

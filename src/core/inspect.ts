/**
 * Node's `console.log` prints an object as its method of this name says; browsers know none, and print
 * `String(object)` where they are asked.
 */
export const inspect: unique symbol = Symbol.for('nodejs.util.inspect.custom')

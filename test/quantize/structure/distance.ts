/** max |a − b| / max |a| */
export function distanceOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, largest] = [0, 0]
  for (let i = 0; i < a.length; i++) {
    difference = Math.max(difference, Math.abs(a[i] - b[i]))
    largest = Math.max(largest, Math.abs(a[i]))
  }
  return difference / largest
}

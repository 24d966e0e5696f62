/**
 * What a model sees of the load.
 * @module
 */

/** Takes what uses the network, for models whose latency changes with the load. */
export interface LoadObserver {
  /**
   * Lines of a route: the program's, prefetches, lines written back, pages that move.
   *
   * @param order the number of the request
   */
  used(
    route: number,
    lines: number,
    issueTicks: number,
    order: number,
    waitTicks: number,
    completionTicks: number,
  ): void;
}

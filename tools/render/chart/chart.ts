/**
 * What a chart shows, as data. Whoever has figures describes them with these types; `draw.ts` makes the picture.
 * @module
 */

/** How values are placed along an axis. `band` gives each text a place of its own, in the order of first appearance. */
export type ScaleKind = "linear" | "log" | "band";

/** One axis. */
export interface Axis {
  /** What is measured, with its unit: `latency, ns`. */
  readonly title: string;
  /** `linear` by default. */
  readonly scale?: ScaleKind;
  /** Base of a logarithmic scale; 10 by default. */
  readonly base?: number;
  /** The text of a tick; plain numbers by default. */
  readonly tick?: (value: number) => string;
  /** Where ticks stand; chosen by the scale by default. */
  readonly ticks?: readonly number[];
  /** True for an axis that places things and measures nothing: it is not drawn. */
  readonly hidden?: boolean;
  /** Smallest and largest value shown; those of the data by default, from 0 on a linear axis of bars. */
  readonly domain?: readonly [number, number];
}

/** A point: x and y in the axes' units. */
export type Point = readonly [x: number, y: number];

/** A named line through its points, in the order given. */
export interface LineLayer {
  /** Tells the layers apart. */
  readonly kind: "line";
  /** Written in the line's colour beside the others. */
  readonly name: string;
  /** The points. */
  readonly points: readonly Point[];
  /** Lower and upper end of the spread around each point, in the order of the points. */
  readonly spread?: readonly (readonly [low: number, high: number])[];
}

/** Points without a line, such as one run's own result. */
export interface DotLayer {
  /** Tells the layers apart. */
  readonly kind: "dots";
  /** Written in the points' colour beside the others. */
  readonly name: string;
  /** The points. */
  readonly points: readonly Point[];
}

/** Bars over intervals of a numeric x axis: a histogram. */
export interface IntervalLayer {
  /** Tells the layers apart. */
  readonly kind: "intervals";
  /** Written in the bars' colour beside the others. */
  readonly name: string;
  /** Interval and height of each bar. */
  readonly bars: readonly { readonly from: number; readonly to: number; readonly value: number }[];
}

/** Horizontal bars of parts that add up, a bar for each text of the y axis, a colour for each part. */
export interface StackLayer {
  /** Tells the layers apart. */
  readonly kind: "stack";
  /** The parts. Parts of the same name have the same colour; their order is that of first appearance. */
  readonly parts: readonly { readonly bar: string; readonly part: string; readonly value: number }[];
}

/** Coloured cells over two band axes, or over intervals of numeric ones: a heat map. */
export interface CellLayer {
  /** Tells the layers apart. */
  readonly kind: "cells";
  /** What the colour means, with its unit. */
  readonly title: string;
  /** Whether the colour follows the value or its logarithm; `linear` by default. */
  readonly scale?: "linear" | "log";
  /** The cells. A cell whose value is null has no colour. */
  readonly cells: readonly {
    readonly x: string | readonly [from: number, to: number];
    readonly y: string | readonly [from: number, to: number];
    readonly value: number | null;
    /** Written into the cell. */
    readonly text?: string;
  }[];
}

/** A line across the chart at one value, with a word to it: a cache size, a limit. */
export interface RuleLayer {
  /** Tells the layers apart. */
  readonly kind: "rule";
  /** Which axis the value belongs to. */
  readonly axis: "x" | "y";
  /** Where. */
  readonly value: number;
  /** What is there. */
  readonly name: string;
}

/** Lines between two points each, coloured by a value: the links of a tree. The value stands beside its line. */
export interface SegmentLayer {
  /** Tells the layers apart. */
  readonly kind: "segments";
  /** What the colour means, with its unit. */
  readonly title: string;
  /** Smallest and largest value that the colours stand for. */
  readonly domain: readonly [low: number, high: number];
  /** The lines. One whose value is null is grey. */
  readonly segments: readonly {
    readonly from: Point;
    readonly to: Point;
    readonly value: number | null;
    /** Written beside it, nearer to its beginning. */
    readonly text: string;
    /** On which side of it that stands. */
    readonly side: "above" | "below";
  }[];
}

/** Words in boxes, at points: the nodes of a tree. */
export interface BoxLayer {
  /** Tells the layers apart. */
  readonly kind: "boxes";
  /** The boxes; a line break makes a new line. */
  readonly boxes: readonly { readonly at: Point; readonly text: string }[];
}

/** Something drawn in a chart. */
export type Layer = LineLayer | DotLayer | IntervalLayer | StackLayer | CellLayer | RuleLayer | SegmentLayer | BoxLayer;

/** A chart. */
export interface Chart {
  /** Written above it. */
  readonly title: string;
  /** The horizontal axis. */
  readonly x: Axis;
  /** The vertical axis. */
  readonly y: Axis;
  /** What it shows, from back to front. */
  readonly layers: readonly Layer[];
  /** Height in pixels; 320 by default. */
  readonly height?: number;
}

/** Placement of replicas. */

export interface PlacementMember {
  readonly name: string;
  readonly zone: string;
  readonly rack: string;
  readonly weight: number;
}

export interface PlacementRequest {
  readonly members: readonly PlacementMember[];
  readonly N: number;
  readonly Q: number;
  /** What stands now; as little as possible moves away from it. Members are told apart by name. */
  readonly previous?: {
    readonly members: readonly { readonly name: string }[];
    readonly partitions: readonly (readonly number[])[];
  };
}

/** For each partition its N members, as indexes into `members`, the leader first. */
export function placeReplicas(request: PlacementRequest): number[][] {
  const { members, N, Q } = request;
  return Array.from({ length: Q }, (_, p) => Array.from({ length: N }, (_unused, k) => (p + k) % members.length));
}

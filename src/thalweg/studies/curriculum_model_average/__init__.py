"""Study: does learning-rate decay waste the best data of a curriculum?"""
